// Which sources the kernels are built from: the build writes the digest into the kernels, and who opens them compares.
const { createHash } = require('node:crypto')
const { readdirSync, readFileSync } = require('node:fs')
const { join } = require('node:path')

/** Digest of the C++ files here and of what builds them; empty where there are none (an install that removed them). */
exports.digestSources = () => {
  const names = readdirSync(__dirname).filter(name => /\.(cpp|h|mjs)$/.test(name))
  if (!names.some(name => name.endsWith('.cpp'))) return ''
  const digest = createHash('sha256')
  for (const name of names.sort())
    digest
      .update(`${name}\0`)
      .update(readFileSync(join(__dirname, name)))
      .update('\0')
  return digest.digest('hex').slice(0, 16)
}
