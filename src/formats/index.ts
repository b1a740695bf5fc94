// What a k-bit number is: formats as records, their spelling, their codes, their error and their size. Runs in a browser.
export { bitsPerParameter, codeBits, totalBits } from './bits.ts'
export { type Codebook, codebook, compileCodebook, nearestCode, TIE } from './codebook.ts'
export {
  COMMON_FORMATS,
  describeFormat,
  effectiveBits,
  type FormatDescription,
  formatsMarkdown,
  sortDescriptions,
} from './describe.ts'
export {
  decodeElement,
  ELEMENTS,
  elementTable,
  encodeElement,
  findElement,
  fromBfloat16,
  fromFloat16,
  roundHalfEven,
  toBfloat16,
  toFloat16,
} from './elements.ts'
export { decode, encode, fakeQuantize } from './encode.ts'
export { didYouMean, nearest, RequestError } from './error.ts'
export * from './format.ts'
export { hadamardBlock, hadamardSigns, rotateRows } from './hadamard.ts'
export { type Layout, layoutOf } from './layout.ts'
export { levelCount, levels } from './levels.ts'
export { bestClip, CAPACITY, gaussianMse, trainingCapacity } from './mse.ts'
export { randomBits, randomUniform } from './random.ts'
export { roundScale, roundScales } from './scale.ts'
export { absmaxOf, isStepped, largestStep } from './scaled.ts'
export { formatOfBits, parseFormat, printElement, printFormat } from './spelling.ts'
