// What the subcommands of `bitlaw plan` read alike: devices, quantities, bits.
import { didYouMean, RequestError } from '../formats/error.ts'
import * as plan from '../plan/index.ts'
import { parseQuantity } from '../table/quantity.ts'

/** The device of that name; throws RequestError with a near one. */
export function findDevice(name: string): plan.Device {
  const device = plan.DEVICES.find(candidate => candidate.name === name)
  const names = plan.DEVICES.map(candidate => candidate.name)
  if (!device) throw new RequestError(`unknown device '${name}', see bitlaw plan devices${didYouMean(name, names)}`)
  return device
}

/** A quantity above 0, or undefined where it is not given. */
export function quantity(
  text: string | undefined,
  kind: Parameters<typeof parseQuantity>[1],
  name: string,
): number | undefined {
  if (text === undefined) return undefined
  const value = parseQuantity(text, kind, name)
  if (!(value > 0)) throw new RequestError(`${name} '${text}' is not positive`)
  return value
}

/** Bits as a range or one number. */
export function parseBits(text: string, name: string): plan.Bounds {
  const match = /^(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?$/.exec(text)
  const low = Number(match?.[1])
  const high = Number(match?.[2] ?? match?.[1])
  if (!match || low < 1 || high > 16 || low > high)
    throw new RequestError(`${name} '${text}' is not understood, expected a number from 1 to 16 or a range like 3..16`)
  return { low, high }
}
