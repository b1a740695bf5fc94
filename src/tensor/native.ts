// The kernels in C++, threaded (native/). Rounding to integer codes happens there, in the pass that packs a product's
// operand; other formats are rounded to values first, and the rarest requests are left to the reference.
import { type Format, layoutOf } from '../formats/index.ts'
import { createEngine } from './addon.ts'
import type {
  AttentionShape,
  Floats,
  KeptWeights,
  Kernels,
  LinearBackwardPart,
  LinearPart,
  Rounding,
  Weights,
} from './kernels.ts'
import type { EncodedArrays } from './quantize-scaled.ts'
import { createNativeQuantizers, type Quantizers } from './quantizers.ts'
import { codeBits, seedOf } from './reference/operand.ts'
import { createReference } from './reference.ts'

export { type Addon, createEngine } from './addon.ts'

const SCALE_KINDS = { exact: 0, fp32: 0, fp16: 1, bf16: 2, e8m0: 3 } as const

/** What the addon knows of a format of integer codes: bits, one scale a row, kind of scale, share of the absmax. */
type CodeFields = readonly [number, boolean, number, number]

/** The fields of a format whose codes the addon makes; null for any other. */
function codeFields(format: Format, ratio: number): CodeFields | null {
  if (format.kind !== 'scaled' || codeBits(format) === 0 || format.clip || format.stochastic) return null
  if (!Object.hasOwn(SCALE_KINDS, format.scale)) return null
  const kind = SCALE_KINDS[format.scale as keyof typeof SCALE_KINDS]
  return [codeBits(format), format.shares !== 'tensor', kind, ratio]
}

/**
 * The fields of a format of integer codes that are found elsewhere (by chance, or with a searched scale): the addon finds
 * them again from their values and scales.
 */
function givenFields(format: Format): CodeFields | null {
  return format.kind === 'scaled' && (format.clip || format.stochastic)
    ? codeFields({ ...format, clip: false, stochastic: false }, 1)
    : null
}

/** Float32 copy of the first numbers of weights. */
function widen(x: Weights, length: number): Float32Array {
  if (!(x instanceof Uint16Array)) return Float32Array.from(x.subarray(0, length))
  const wide = new Uint32Array(length)
  for (let i = 0; i < length; i++) wide[i] = x[i] << 16
  return new Float32Array(wide.buffer)
}

/** Native kernels on `threads` threads, or undefined where they are not built; `isa` (or BITLAW_ISA) forces an instruction path. */
export function createNative({ threads, isa }: { threads: number; isa?: string }): Kernels | undefined {
  const made = createEngine({ threads, isa })
  if (made === undefined) return undefined
  const { addon, engine } = made
  const reference = createReference({ float: 'float32' })
  let quantizers: Quantizers | undefined
  const room = { codes: new Uint8Array(0), scales: new Float32Array(0), zeros: new Uint8Array(0) }

  /** Values of a format that the addon does not know, into `out`; answers the scales. */
  function roundElsewhere(
    x: Float32Array,
    rows: number,
    columns: number,
    format: Format,
    out: Float32Array,
    options: { absmaxRatio: number; seed: number },
  ): Float32Array | undefined {
    quantizers ??= createNativeQuantizers({ threads, isa })!
    const seed = seedOf(format, options.seed)
    const values = x.subarray(0, rows * columns)
    const room = roomFor(rows, columns, format)
    const encoded = quantizers.encode(values, [rows, columns], format, { ...options, seed }, room)
    quantizers.decode(encoded, out)
    const { scales } = encoded
    return scales instanceof Float32Array ? scales.slice() : scales && Float32Array.from(scales)
  }

  /** Arrays that an encoding is written into on its way to values; kept from call to call. */
  function roomFor(rows: number, columns: number, format: Format): EncodedArrays {
    const size = rows * columns
    const count = format.kind === 'scaled' ? layoutOf([rows, columns], format.shares).count : Math.ceil(size / 16)
    // Bytes of ggml's types are at most two a value.
    if (room.codes.length < 2 * size) room.codes = new Uint8Array(2 * size)
    if (room.scales.length < count) room.scales = new Float32Array(count)
    if (room.zeros.length < count) room.zeros = new Uint8Array(count)
    return { codes: room.codes, scales: room.scales.subarray(0, count), zeros: room.zeros.subarray(0, count) }
  }

  function roundTo(
    x: Float32Array,
    rows: number,
    columns: number,
    format: Format,
    out: Float32Array,
    options = { absmaxRatio: 1, seed: 0 },
  ) {
    const fields = codeFields(format, options.absmaxRatio)
    if (fields !== null) addon.roundCodes(engine, x, rows, columns, out, fields)
    else if (format.kind === 'plain' && format.name === 'bf16') addon.roundBf16(engine, rows * columns, x, out)
    else if (format.kind === 'plain' && format.name === 'fp16') addon.roundHalf(engine, rows * columns, x, out)
    else roundElsewhere(x, rows, columns, format, out, options)
  }

  /** An operand as the addon takes it: what it rounds itself (with fields), values of codes with their scales, or values. */
  function operand<T extends Weights>(
    x: T,
    rows: number,
    columns: number,
    format: Format | null,
    absmaxRatio: number,
    seed: number,
  ): { x: T | Float32Array; fields: CodeFields | null; scales?: Float32Array } {
    const fields = format === null ? null : codeFields(format, absmaxRatio)
    if (format === null || fields !== null) return { x, fields }
    const values = widen(x, rows * columns)
    const given = givenFields(format)
    if (given === null) {
      roundTo(values, rows, columns, format, values, { absmaxRatio, seed })
      return { x: values, fields: null }
    }
    if (values.length === 0) return { x: values, fields: given }
    const scales = roundElsewhere(values, rows, columns, format, values, { absmaxRatio, seed })
    return { x: values, fields: given, ...(scales && { scales }) }
  }

  /** Requests whose clipped numbers only the reference finds: those of scales that the addon does not find itself. */
  function isRare({ straightThrough, weights, activations, absmaxRatio }: Rounding): boolean {
    const rare = (format: Format | null, ratio: number) =>
      format?.kind === 'scaled' &&
      codeFields(format, ratio) === null &&
      (ratio < 1 || format.clip || givenFields(format) !== null)
    return (
      straightThrough === 'clipped' &&
      (rare(weights, absmaxRatio.weights) || rare(activations, absmaxRatio.activations))
    )
  }

  function linear(x: Floats, rows: number, inputs: number, parts: readonly LinearPart[], r: Rounding): void {
    const a = operand(x, rows, inputs, r.activations, r.absmaxRatio.activations, (parts[0]?.seed ?? 0) + 2)
    let fields: CodeFields | null = null
    const given = parts.map(part => {
      if (part.kept !== undefined) {
        fields = r.weights && (codeFields(r.weights, r.absmaxRatio.weights) ?? givenFields(r.weights))
        return { ...part, kept: part.kept.handle }
      }
      const w = operand(part.weight, part.outputs, inputs, r.weights, r.absmaxRatio.weights, part.seed ?? 0)
      fields = w.fields
      return w.x === part.weight ? part : { ...part, weight: w.x, scales: w.scales }
    })
    addon.linear(engine, a.x, rows, inputs, given, fields, a.fields, null, false, r.compute === 'bf16', a.scales)
  }

  function keep(weight: Weights, outputs: number, inputs: number, r: Rounding): KeptWeights {
    const w = operand(weight, outputs, inputs, r.weights, r.absmaxRatio.weights, 0)
    const activations =
      r.activations && (codeFields(r.activations, r.absmaxRatio.activations) ?? givenFields(r.activations))
    const handle = addon.keepWeights(
      engine,
      w.x,
      outputs,
      inputs,
      w.fields,
      activations,
      null,
      false,
      r.compute === 'bf16',
      w.scales,
    )
    return { handle, bytes: outputs * inputs * (r.compute === 'bf16' ? 2 : 4) }
  }

  function linearBackward(
    x: Floats,
    rows: number,
    inputs: number,
    parts: readonly LinearBackwardPart[],
    dx: Floats | null,
    accumulate: boolean,
    r: Rounding,
  ): void {
    if (isRare(r)) {
      reference.linearBackward(x, rows, inputs, parts, dx, accumulate, r)
      return
    }
    const bf16 = r.compute === 'bf16'
    const a = operand(x, rows, inputs, r.activations, r.absmaxRatio.activations, (parts[0]?.seed ?? 0) + 2)
    let weightFields: CodeFields | null = null
    let gradientFields: CodeFields | null = null
    const given = parts.map(part => {
      const seed = part.seed ?? 0
      const w = operand(part.weight, part.outputs, inputs, r.weights, r.absmaxRatio.weights, seed)
      weightFields = w.fields
      const d = operand(part.dy, rows, part.outputs, r.gradients, 1, seed + 1)
      gradientFields = d.fields
      // Values of a format are rounded to bf16 before the other operand's scales multiply them.
      if (d.x !== part.dy && d.fields === null && bf16) addon.roundBf16(engine, rows * part.outputs, d.x, d.x)
      // The gradient of a bias is the sum of dy itself.
      const apart = d.x !== part.dy && part.dBias !== undefined
      if (apart) addon.biasGradient(engine, part.dy, rows, part.outputs, part.dBias)
      if (w.x === part.weight && d.x === part.dy) return part
      const dBias = apart ? undefined : part.dBias
      return { ...part, weight: w.x, scales: w.scales, dy: d.x as Floats, dyScales: d.scales, dBias }
    })
    addon.linearBackward(
      engine,
      a.x,
      rows,
      inputs,
      given,
      dx,
      accumulate,
      weightFields,
      a.fields,
      gradientFields,
      r.straightThrough === 'clipped',
      bf16,
      a.scales,
    )
  }

  const shapeOf = (s: AttentionShape) =>
    [
      s.batch,
      s.length,
      s.heads,
      s.kvHeads,
      s.headSize,
      s.scale,
      s.window ?? 0,
      s.slopes ?? null,
      s.softcap ?? 0,
      s.compute === 'bf16',
    ] as const

  return {
    name: 'native',
    isa: addon.pathName(engine),
    threads,
    build: addon.build,
    allocate: length => addon.allocate(length),
    keep,
    linear,
    linearBackward,
    norm: (x, gain, bias, out, saved, { kind, rows, width, eps }) =>
      addon.norm(engine, kind === 'layer', rows, width, eps, x, gain, bias, out, saved),
    normBackward: (x, gain, saved, dy, dx, accumulate, dGain, dBias, { kind, rows, width, eps }) =>
      addon.normBackward(engine, kind === 'layer', rows, width, eps, x, gain, saved, dy, dx, accumulate, dGain, dBias),
    rotary: (x, rows, heads, headSize, cos, sin, pairs, length, inverse) =>
      addon.rotary(engine, x, rows, heads, headSize, cos, sin, pairs, length, inverse),
    attention: (q, k, v, out, logSums, shape) => addon.attention(engine, ...shapeOf(shape), q, k, v, out, logSums),
    attentionBackward: (q, k, v, out, logSums, dOut, dq, dk, dv, shape) =>
      addon.attentionBackward(engine, ...shapeOf(shape), q, k, v, out, logSums, dOut, dq, dk, dv),
    activation: (gate, up, out, kind) => addon.activation(engine, kind, gate.length, gate, up, out),
    activationBackward: (gate, up, dOut, dGate, dUp, kind) =>
      addon.activationBackward(engine, kind, gate.length, gate, up, dOut, dGate, dUp),
    embed: (table, ids, width, out, scale, positions) =>
      addon.embed(
        engine,
        table,
        ids,
        ids.length,
        width,
        out,
        scale,
        positions?.table ?? null,
        positions?.length,
        positions?.offset,
      ),
    embedBackward: (dOut, ids, width, dTable, scale, positions) =>
      addon.embedBackward(
        engine,
        dOut,
        ids,
        ids.length,
        width,
        dTable,
        scale,
        positions?.dTable ?? null,
        positions?.length,
        positions?.offset,
      ),
    crossEntropy: (x, weight, bias, targets, losses, { rows, width, vocab, softcap, compute, kept }) =>
      addon.crossEntropy(
        engine,
        x,
        weight,
        rows,
        width,
        vocab,
        bias,
        targets,
        losses,
        softcap ?? 0,
        compute === 'bf16',
        false,
        kept?.handle,
      ),
    crossEntropyBackward: (
      x,
      weight,
      bias,
      targets,
      losses,
      dx,
      dWeight,
      dBias,
      { rows, width, vocab, softcap, compute, scale },
    ) =>
      addon.crossEntropy(
        engine,
        x,
        weight,
        rows,
        width,
        vocab,
        bias,
        targets,
        losses,
        softcap ?? 0,
        compute === 'bf16',
        true,
        scale,
        dx,
        dWeight,
        dBias,
      ),
    logSoftmax: (logits, rows, width) => addon.logSoftmax(engine, logits, rows, width),
    fakeQuantize: (x, rows, width, format, out, seed = 0) =>
      roundTo(x as Float32Array, rows, width, format, out as Float32Array, { absmaxRatio: 1, seed }),
    add: (y, x) => addon.add(engine, y.length, y, x),
    sumSquares: x => addon.sumSquares(engine, x.length, x),
    adamw: (weight, gradient, m, v, { rate, beta1, beta2, eps, weightDecay, step, gradientScale }) =>
      addon.adamw(
        engine,
        weight.length,
        weight,
        gradient,
        m,
        v,
        rate,
        beta1,
        beta2,
        eps,
        weightDecay,
        step,
        gradientScale,
      ),
  }
}
