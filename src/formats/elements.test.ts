import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeElement, ELEMENTS, encodeElement, exponentOf, roundHalfEven } from './elements.ts'

test('every code of every element type survives decode and encode', () => {
  for (const type of ELEMENTS)
    for (let code = 0; code < 2 ** type.bits; code++) {
      const value = decodeElement(type, code)
      const back = encodeElement(type, value)
      if (Number.isNaN(value)) expect(decodeElement(type, back), `${type.name} ${code}`).toBeNaN()
      else if (back !== code) expect.fail(`${type.name} ${code} is ${value}, which is encoded as ${back}`)
    }
})

test('the code of a number is that of the nearest value, an even one of two', () => {
  for (const type of ELEMENTS) {
    if (type.bits > 8 || type.specials === 'unsigned') continue
    const values = Array.from({ length: type.maxCode + 1 }, (_, code) => decodeElement(type, code))
    const check = (x: number) => {
      let best = 0
      for (let code = 1; code < values.length; code++) {
        const nearer = Math.abs(values[code] - x) - Math.abs(values[best] - x)
        if (nearer < 0 || (nearer === 0 && code % 2 === 0)) best = code
      }
      const code = encodeElement(type, x, { saturate: true })
      if (code !== best) expect.fail(`${type.name}: ${x} is encoded as ${code}, nearest is ${best}`)
      expect(encodeElement(type, -x, { saturate: true })).toBe(x === 0 && 1 / x < 0 ? 0 : code + 2 ** (type.bits - 1))
    }
    for (let code = 0; code + 1 < values.length; code++) check((values[code] + values[code + 1]) / 2)
    fc.assert(fc.property(fc.double({ min: 0, max: type.max * 2, noNaN: true }), check), { numRuns: 300 })
  }
})

test('special numbers', () => {
  expect(encodeElement('float8_e4m3fn', Infinity)).toBe(0x7f)
  expect(encodeElement('float8_e4m3fn', Infinity, { saturate: true })).toBe(0x7e)
  expect(encodeElement('float8_e4m3fn', 464)).toBe(0x7e)
  expect(encodeElement('float8_e4m3fn', 464.1)).toBe(0x7f)
  expect(encodeElement('float4_e2m1fn', -1e30)).toBe(0xf)
  expect(encodeElement('float16', 65519.99)).toBe(0x7bff)
  expect(encodeElement('float16', 65520)).toBe(0x7c00)
  expect(encodeElement('float16', 65520, { saturate: true })).toBe(0x7bff)
  expect(encodeElement('float8_e8m0fnu', 0)).toBe(255)
  expect(encodeElement('float8_e8m0fnu', 1.5)).toBe(128)
  expect(decodeElement('float8_e8m0fnu', 0)).toBe(2 ** -127)
})

test('wrong names and codes are refused', () => {
  expect(() => encodeElement('float8_e4m3f', 1)).toThrow(
    /unknown element type 'float8_e4m3f'.*did you mean float8_e4m3/,
  )
  expect(() => decodeElement('float4_e2m1fn', 16)).toThrow(/code '16' is not a code of float4_e2m1fn, expected 0 to 15/)
  expect(() => decodeElement('float16', -1)).toThrow(/code '-1'/)
})

test('exponents of subnormals and ties of roundHalfEven', () => {
  expect(exponentOf(Number.MIN_VALUE)).toBe(-1074)
  expect(exponentOf(2 ** -1022)).toBe(-1022)
  expect(exponentOf(1.999)).toBe(0)
  expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999].map(roundHalfEven)).toEqual([0, 2, 2, 0, -2, 2])
})
