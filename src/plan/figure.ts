// Loss against training bits at a plan's budget, one line a law, as a plain SVG that needs nothing to be drawn.

import type { LawFit } from './fits.ts'
import { menuOf } from './menu.ts'
import { lossAt, planTraining, type TrainProblem, tied } from './train.ts'

const WIDTH = 640
const HEIGHT = 400
const MARGIN = { left: 60, right: 170, top: 20, bottom: 45 }
const COLORS = ['#4269d0', '#efb118', '#ff725c', '#6cc5b0', '#3ca951', '#ff8ab7', '#a463f2', '#97bbf5']

/** Each law's loss above its own optimum (nats) for 3 to 16 bits, N and D chosen anew at each. */
export function planFigure(fits: readonly LawFit[], problem: TrainProblem): string {
  const grid = Array.from({ length: 53 }, (_, i) => 3 + i / 4)
  const lines = fits
    .filter(fit => menuOf(fit) === null)
    .map(({ law, fit, parameters }) => {
      const values = grid.map(p => {
        const solution = planTraining(law, parameters, { ...problem, bits: tied(p) })
        return 'plan' in solution
          ? lossAt(law, parameters, problem, solution.plan.n, solution.plan.d, tied(p))
          : Number.NaN
      })
      const least = Math.min(...values.filter(Number.isFinite))
      return { name: `${law.name} ${fit}`, values: values.map(value => value - least) }
    })
  const top = Math.min(0.5, Math.max(0.02, ...lines.flatMap(line => line.values.filter(Number.isFinite))))
  const x = (bits: number) => MARGIN.left + ((bits - 3) / 13) * (WIDTH - MARGIN.left - MARGIN.right)
  const y = (value: number) =>
    HEIGHT - MARGIN.bottom - (Math.min(value, top) / top) * (HEIGHT - MARGIN.top - MARGIN.bottom)
  const text = (at: [number, number], content: string, extra = '') =>
    `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}" ${extra}>${content}</text>`
  const ticks = [4, 6, 8, 10, 12, 14, 16].map(bits =>
    text([x(bits), HEIGHT - MARGIN.bottom + 18], String(bits), 'text-anchor="middle"'),
  )
  const levels = [0, 0.25, 0.5, 0.75, 1].map(share =>
    text([MARGIN.left - 8, y(share * top) + 4], (share * top).toFixed(3), 'text-anchor="end"'),
  )
  const paths = lines.map(({ name, values }, i) => {
    const points = values.flatMap((value, k) =>
      Number.isFinite(value) ? [`${x(grid[k]).toFixed(1)},${y(value).toFixed(1)}`] : [],
    )
    const color = COLORS[i % COLORS.length]
    return `<polyline fill="none" stroke="${color}" stroke-width="2" points="${points.join(' ')}"/>${text([WIDTH - MARGIN.right + 10, MARGIN.top + 14 + i * 16], name, `fill="${color}"`)}`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="11">
<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>
${[...ticks, ...levels, ...paths].join('\n')}
${text([(MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 8], 'training bits (weights, activations, KV)', 'text-anchor="middle"')}
${text([14, HEIGHT / 2], 'loss above the best plan, nats', `text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})"`)}
</svg>
`
}
