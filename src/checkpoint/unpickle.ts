// A pickle machine that knows only what a state dict needs: containers, numbers, text, and a list of names that it may call.
// Nothing from the file is executed; any other opcode or name is an error.

/** What a name in the pickle stands for: called with arguments by the opcode REDUCE. */
export type PickleCall = (args: readonly unknown[]) => unknown

/** What the machine needs to know of the world. */
export interface PickleWorld {
  /** The value of a global name (`torch._utils _rebuild_tensor_v2`); throws where it is not allowed. */
  global(module: string, name: string): unknown
  /** The value of a persistent id (storages). */
  persistent(id: unknown): unknown
}

const MARK = Symbol('mark')

/** The most entries on the machine's stack. */
const DEEPEST = 10_000_000

/** Runs one pickle from `start`; gives its value and the place behind it. `name` begins errors. */
export function unpickle(
  bytes: Uint8Array,
  start: number,
  world: PickleWorld,
  name: string,
): { value: unknown; end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const stack: unknown[] = []
  const memo = new Map<number, unknown>()
  let at = start
  const fail = (what: string): never => {
    throw new Error(`${name} ${what}`)
  }
  const take = (length: number): number => {
    if (length < 0 || at + length > bytes.length) fail('ends within its pickle')
    at += length
    return at - length
  }
  const push = (value: unknown) => {
    if (stack.push(value) > DEEPEST) fail('has a pickle that grows without end')
  }
  const pop = (): unknown => {
    if (stack.length === 0) fail('has a pickle with an empty stack')
    const value = stack.pop()
    if (value === MARK) fail('has a pickle with a misplaced mark')
    return value
  }
  const top = (): unknown => (stack.length === 0 ? fail('has a pickle with an empty stack') : stack[stack.length - 1])
  const popMark = (): unknown[] => {
    const from = stack.lastIndexOf(MARK)
    if (from < 0) fail('has a pickle without a mark')
    return stack.splice(from).slice(1)
  }
  const text = (length: number): string => {
    const from = take(length)
    return new TextDecoder().decode(bytes.subarray(from, from + length))
  }
  const line = (): string => {
    const end = bytes.indexOf(10, at)
    if (end < 0) fail('ends within its pickle')
    const found = text(end - at)
    at++
    return found
  }
  const size8 = (): number => {
    const value = view.getBigUint64(take(8), true)
    return value > BigInt(bytes.length) ? fail('ends within its pickle') : Number(value)
  }
  const recall = (key: number) => {
    if (!memo.has(key)) fail('has a pickle that recalls what it never kept')
    push(memo.get(key))
  }
  const setItems = (pairs: readonly unknown[]) => {
    const target = top()
    if (!(target instanceof Map)) return fail('has a pickle that sets items of no dictionary')
    for (let i = 0; i + 1 < pairs.length; i += 2) target.set(pairs[i], pairs[i + 1])
  }
  const append = (values: readonly unknown[]) => {
    const target = top()
    if (!Array.isArray(target)) return fail('has a pickle that appends to no list')
    for (const value of values) target.push(value)
  }
  const number1 = (length: number): number => {
    const from = take(length)
    let value = 0n
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[from + i])
    return Number(BigInt.asIntN(8 * length, value))
  }

  for (;;) {
    const opcode = bytes[take(1)]
    switch (opcode) {
      case 0x80: // PROTO
        if (bytes[take(1)] > 5) fail('has a pickle of an unknown protocol')
        break
      case 0x95: // FRAME
        take(8)
        break
      case 0x2e: // STOP
        return { value: pop(), end: at }
      case 0x28: // MARK
        push(MARK)
        break
      case 0x30: // POP
        stack.pop()
        break
      case 0x4e: // NONE
        push(null)
        break
      case 0x88:
      case 0x89: // NEWTRUE, NEWFALSE
        push(opcode === 0x88)
        break
      case 0x4a: // BININT
        push(view.getInt32(take(4), true))
        break
      case 0x4b: // BININT1
        push(bytes[take(1)])
        break
      case 0x4d: // BININT2
        push(view.getUint16(take(2), true))
        break
      case 0x8a: // LONG1
        push(number1(bytes[take(1)]))
        break
      case 0x47: // BINFLOAT
        push(view.getFloat64(take(8), false))
        break
      case 0x58: // BINUNICODE
      case 0x54: // BINSTRING
        push(text(view.getUint32(take(4), true)))
        break
      case 0x8c: // SHORT_BINUNICODE
      case 0x55: // SHORT_BINSTRING
        push(text(bytes[take(1)]))
        break
      case 0x8d: // BINUNICODE8
        push(text(size8()))
        break
      case 0x43: // SHORT_BINBYTES
        take(bytes[take(1)])
        push(null)
        break
      case 0x7d: // EMPTY_DICT
        push(new Map())
        break
      case 0x5d: // EMPTY_LIST
        push([])
        break
      case 0x29: // EMPTY_TUPLE
        push([])
        break
      case 0x85:
      case 0x86:
      case 0x87: {
        // TUPLE1, TUPLE2, TUPLE3
        const items = Array.from({ length: opcode - 0x84 }, pop)
        push(items.reverse())
        break
      }
      case 0x74: // TUPLE
        push(popMark())
        break
      case 0x73: {
        // SETITEM
        const value = pop()
        setItems([pop(), value])
        break
      }
      case 0x75: // SETITEMS
        setItems(popMark())
        break
      case 0x61: // APPEND
        append([pop()])
        break
      case 0x65: // APPENDS
        append(popMark())
        break
      case 0x71: // BINPUT
        memo.set(bytes[take(1)], top())
        break
      case 0x72: // LONG_BINPUT
        memo.set(view.getUint32(take(4), true), top())
        break
      case 0x94: // MEMOIZE
        memo.set(memo.size, top())
        break
      case 0x68: // BINGET
        recall(bytes[take(1)])
        break
      case 0x6a: // LONG_BINGET
        recall(view.getUint32(take(4), true))
        break
      case 0x63: // GLOBAL
        push(world.global(line(), line()))
        break
      case 0x93: {
        // STACK_GLOBAL
        const what = pop()
        push(world.global(String(pop()), String(what)))
        break
      }
      case 0x51: // BINPERSID
        push(world.persistent(pop()))
        break
      case 0x52: {
        // REDUCE
        const args = pop()
        const call = pop()
        if (typeof call !== 'function' || !Array.isArray(args))
          return fail('has a pickle that calls what is no function')
        push((call as PickleCall)(args))
        break
      }
      case 0x62: // BUILD: the state of an ordered dictionary, which is bookkeeping
        pop()
        break
      default:
        fail(`has the pickle opcode 0x${opcode.toString(16)}, which no state dict needs`)
    }
  }
}
