// Reads raw results (test id -> true | [error, message]) from standard input and prints, as JSON, every test that
// is not for browsers only: { id, kind, name, outcome, message }. The verdict is the suite's own, dependencies included.
import { readFileSync } from 'node:fs'
import { determineTestResult } from 'http-cache-tests/lib/display.mjs'
import suites from 'http-cache-tests/tests/index.mjs'
import surrogate from 'http-cache-tests/tests/surrogate-control.mjs'

// The suite exports symbols, not names; some end in a variation selector, which is taken off.
const outcomes = {
  '✅': 'pass', '⛔': 'fail', '⚠': 'fail', Y: 'yes', N: 'no',
  '🔹': 'setup', '⁉': 'harness', '⚪': 'dependency', '↻': 'retry', '-': 'untested'
}
const all = [...suites, surrogate]
const results = JSON.parse(readFileSync(0, 'utf8'))
const verdicts = all.flatMap(suite => suite.tests).filter(test => test.browser_only !== true).map(test => {
  const symbol = determineTestResult(all, test.id, results)[2].replace('\ufe0f', '')
  if (!(symbol in outcomes)) throw new Error(`unknown verdict ${symbol} for ${test.id}`)
  const message = Array.isArray(results[test.id]) ? results[test.id].join(': ') : ''
  return { id: test.id, kind: test.kind ?? 'required', name: test.name, outcome: outcomes[symbol], message }
})
process.stdout.write(JSON.stringify(verdicts))
