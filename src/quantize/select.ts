// Which tensors of a model are quantized, and to what: by default every matrix of the blocks, one format for all.
import { type Format, parseFormat, RequestError } from '../formats/index.ts'
import { type ModelConfig, type ParameterSpec, parameterSpecs } from '../model/config.ts'

/** What is chosen, by globs over canonical names or the checkpoint's own (`*` any characters, `?` one). */
export interface Selection {
  /** Only tensors that match one of these. They may name any matrix, also the unembedding. */
  include?: readonly string[]
  /** None that matches one of these. */
  exclude?: readonly string[]
  /** Format of embedding and unembedding, which are left alone without it. */
  embeddings?: string | null
}

/** A tensor with the format that it gets. */
export interface Chosen {
  spec: ParameterSpec
  format: Format
}

/** A glob as a regular expression over a whole name; without a wildcard it may also be a part of the name between dots. */
export function globPattern(glob: string): RegExp {
  const body = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return /[*?]/.test(glob) ? new RegExp(`^${body}$`) : new RegExp(`(^|\\.)${body}(\\.|$)`)
}

const MATRICES = new Set<ParameterSpec['kind']>(['linear', 'embedding', 'head', 'position'])

/**
 * The tensors to quantize in the model's order. `format` is one for all, or a function of the tensor (null: as stored).
 * `aliases` gives the checkpoint's own names of a tensor. Throws RequestError where a glob matches nothing.
 */
export function selectTensors(
  config: ModelConfig,
  format: string | ((spec: ParameterSpec) => string | null),
  { include, exclude, embeddings }: Selection = {},
  aliases: (name: string) => readonly string[] = () => [],
): Chosen[] {
  const specs = parameterSpecs(config).filter(spec => spec.shape.length === 2 && MATRICES.has(spec.kind))
  const compile = (globs: readonly string[] | undefined) =>
    globs?.map(glob => ({ glob, pattern: globPattern(glob), used: false }))
  const included = compile(include)
  const excluded = compile(exclude)
  const matches = (patterns: NonNullable<typeof included>, spec: ParameterSpec) => {
    let found = false
    for (const each of patterns)
      if ([spec.name, ...aliases(spec.name)].some(name => each.pattern.test(name))) found = each.used = true
    return found
  }
  const chosen: Chosen[] = []
  for (const spec of specs) {
    const isEmbedding = spec.kind === 'embedding' || spec.name === 'head.weight'
    const wanted = included ? matches(included, spec) : spec.kind === 'linear' || (isEmbedding && embeddings != null)
    const unwanted = excluded ? matches(excluded, spec) : false
    if (!wanted || unwanted) continue
    const spelling = isEmbedding && embeddings != null ? embeddings : typeof format === 'string' ? format : format(spec)
    if (spelling !== null) chosen.push({ spec, format: parseFormat(spelling) })
  }
  for (const each of [...(included ?? []), ...(excluded ?? [])])
    if (!each.used)
      throw new RequestError(
        `no tensor matches '${each.glob}', expected a glob over names like ${specs[1]?.name ?? specs[0].name}`,
      )
  return chosen
}
