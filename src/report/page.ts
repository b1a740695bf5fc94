// Style and script of the report's page.

/** Light and dark, 390 px to wide, and paper. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ink: #1a1f24; --paper: #fff; --soft: #5b6670; --line: #d8dee4; --mark: #f3f6f9 }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #15181c; --soft: #9aa5b0; --line: #333b44; --mark: #1e242b } }
* { box-sizing: border-box }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 860px; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.7rem; margin: 0.5rem 0 } h2 { margin: 2.2rem 0 0.6rem; border-bottom: 1px solid var(--line) } h3 { margin: 1.2rem 0 0.4rem; font-size: 1.05rem }
figure { margin: 1.6rem 0; break-inside: avoid } figcaption, .missing { color: var(--soft); font-size: 0.92rem }
.plot { overflow-x: auto } .plot > svg, .plot > figure > svg { max-width: none; min-width: 620px; height: auto; color: var(--ink) } .plot figure { margin: 0 }
@media (min-width: 760px) { .plot > svg, .plot > figure > svg { max-width: 100% } }
.plot > figure > div { color: var(--ink) }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px } .scroll:has(.sortable) { max-height: 70vh }
.legend { margin: 0.2rem 0; font-size: 0.85rem; color: var(--soft) } .legend span { display: inline-block; margin-left: 0.7rem; color: var(--ink) } .legend i { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 50%; margin-right: 0.35em; print-color-adjust: exact; -webkit-print-color-adjust: exact }
.where { color: var(--soft); font-size: 0.92rem } .verdict { white-space: nowrap } .supported { color: #2c8c55 } .contradicted { color: #c8452f } .tie { color: #8a7500 } .not { color: var(--soft); font-weight: normal }
#claims td:first-child { min-width: 11rem } #claims td:nth-child(2) { min-width: 9rem }
@media (max-width: 640px) { .cards thead { display: none } .cards, .cards tbody, .cards tr, .cards td { display: block } .cards tr { border-bottom: 2px solid var(--line); padding: 0.4rem 0 } .cards td { border: 0; padding: 0.15rem 0.6rem } .cards td::before { content: attr(data-label) ": "; color: var(--soft) } .cards td:first-child { font-weight: 600 } .cards td:first-child::before { content: none } }
table { border-collapse: collapse; font-size: 0.88rem; width: 100% } th, td { text-align: left; padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } thead th { position: sticky; top: 0; background: var(--mark) }
th button { all: unset; cursor: pointer; font-weight: 600 } th[aria-sort=ascending] button::after { content: " ↑" } th[aria-sort=descending] button::after { content: " ↓" } th button:focus-visible { outline: 2px solid currentColor }
input { font: inherit; padding: 0.2rem 0.5rem; max-width: 100% } a { color: inherit }
@media print { details > * { display: block } .plot > svg { max-width: 100%; min-width: 0 } .scroll { max-height: none; overflow: visible } #runs label, #downloads { display: none } :root { color-scheme: light } html { font-size: 11px } body { font-size: 1rem } figure { break-inside: avoid } }
`

/** Sorting and filtering of the tables. */
export const PAGE_SCRIPT = `
for (const table of document.querySelectorAll('table.sortable')) {
  let last = -1, up = true
  table.tHead.addEventListener('click', event => {
    const button = event.target.closest('button'); if (!button) return
    const column = Number(button.dataset.column)
    up = column === last ? !up : true; last = column
    const key = row => row.cells[column].textContent
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = key(a), y = key(b)
      if (x === '–' || y === '–') return (x === '–') - (y === '–')
      const d = Number(x) - Number(y)
      return (Number.isNaN(d) ? x.localeCompare(y, 'en', { numeric: true }) : d) * (up ? 1 : -1)
    })
    for (const head of table.tHead.rows[0].cells) head.removeAttribute('aria-sort')
    button.parentElement.setAttribute('aria-sort', up ? 'ascending' : 'descending')
    table.tBodies[0].append(...rows)
  })
}
document.getElementById('filter')?.addEventListener('input', event => {
  const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean)
  for (const row of document.querySelectorAll('table.sortable tbody tr')) {
    const text = row.textContent.toLowerCase()
    row.hidden = !words.every(word => text.includes(word))
  }
})
`
