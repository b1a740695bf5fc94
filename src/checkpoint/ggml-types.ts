// ggml's tensor types by their number in GGUF files: name, numbers a block, bytes a block.

/** One type. */
export interface GgmlType {
  id: number
  /** As in formats/ (q4_k), or a safetensors name for plain numbers (F32). */
  name: string
  block: number
  bytes: number
}

const type = (id: number, name: string, block: number, bytes: number): GgmlType => ({ id, name, block, bytes })

/** All types whose size is known; formats/ decodes those that PTQ uses. */
export const GGML_TYPES: readonly GgmlType[] = [
  ...[type(0, 'F32', 1, 4), type(1, 'F16', 1, 2), type(30, 'BF16', 1, 2), type(28, 'F64', 1, 8)],
  ...[type(24, 'I8', 1, 1), type(25, 'I16', 1, 2), type(26, 'I32', 1, 4), type(27, 'I64', 1, 8)],
  ...[
    type(2, 'q4_0', 32, 18),
    type(3, 'q4_1', 32, 20),
    type(6, 'q5_0', 32, 22),
    type(7, 'q5_1', 32, 24),
    type(8, 'q8_0', 32, 34),
  ],
  ...[
    type(10, 'q2_k', 256, 84),
    type(11, 'q3_k', 256, 110),
    type(12, 'q4_k', 256, 144),
    type(13, 'q5_k', 256, 176),
    type(14, 'q6_k', 256, 210),
  ],
  ...[type(20, 'iq4_nl', 32, 18), type(23, 'iq4_xs', 256, 136), type(34, 'tq1_0', 256, 54), type(35, 'tq2_0', 256, 66)],
  ...[type(9, 'q8_1', 32, 36), type(15, 'q8_k', 256, 292), type(16, 'iq2_xxs', 256, 66), type(17, 'iq2_xs', 256, 74)],
  ...[
    type(18, 'iq3_xxs', 256, 98),
    type(19, 'iq1_s', 256, 50),
    type(21, 'iq3_s', 256, 110),
    type(22, 'iq2_s', 256, 82),
  ],
  ...[type(29, 'iq1_m', 256, 56), type(39, 'mxfp4_gguf', 32, 17)],
]

const BY_ID = new Map(GGML_TYPES.map(entry => [entry.id, entry]))
const BY_NAME = new Map(GGML_TYPES.map(entry => [entry.name, entry]))

/** The type of a number in a file, undefined: unknown. */
export const ggmlTypeOf = (id: number): GgmlType | undefined => BY_ID.get(id)

/** The type of a name (F32, q4_k), undefined: ggml has none such. */
export const ggmlTypeNamed = (name: string): GgmlType | undefined => BY_NAME.get(name)
