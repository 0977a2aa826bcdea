// Reads raw results (test id -> true | [error, message]) from standard input and prints, as JSON, every test that
// is not for browsers only: { id, kind, name, outcome, message }. The verdict is the suite's own, dependencies included.
//
//     node judge.mjs SUITE            where SUITE is the folder of http-cache-tests, as released or as committed
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const load = path => import(pathToFileURL(join(process.argv[2], path)).href)
const committed = 'test-engine/lib/results.mjs'
const isCommitted = existsSync(join(process.argv[2], committed))
const { determineTestResult } = await load(isCommitted ? committed : 'lib/display.mjs')

// The suite exports symbols, not names; some end in a variation selector, which is taken off.
const outcomes = {
  '✅': 'pass', '⛔': 'fail', '⚠': 'fail', Y: 'yes', N: 'no',
  '🔹': 'setup', '⁉': 'harness', '⚪': 'dependency', '↻': 'retry', '-': 'untested'
}
const all = [...(await load('tests/index.mjs')).default]
if (!isCommitted) all.push((await load('tests/surrogate-control.mjs')).default)
const results = JSON.parse(readFileSync(0, 'utf8'))
const verdicts = all.flatMap(suite => suite.tests).filter(test => test.browser_only !== true).map(test => {
  const symbol = determineTestResult(all, test.id, results)[2].replace('\ufe0f', '')
  if (!(symbol in outcomes)) throw new Error(`unknown verdict ${symbol} for ${test.id}`)
  const message = Array.isArray(results[test.id]) ? results[test.id].join(': ') : ''
  return { id: test.id, kind: test.kind ?? 'required', name: test.name, outcome: outcomes[symbol], message }
})
process.stdout.write(JSON.stringify(verdicts))
