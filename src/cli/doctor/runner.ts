import { describeError, hasCode } from "../../base/errors.ts";
import { KernelError } from "../../ffi/errors.ts";
import { type Check, type Finding, NotApplicable, skipped } from "./check.ts";
import type { Context } from "./context.ts";

/** A finding, and what found it. */
export interface Result extends Finding {
  readonly group: Check["group"];
  readonly check: string;
  /** of the whole check */
  readonly durationMs: number;
}

/**
 * Runs all checks at the same time, each with its limit. One that breaks, or hangs, is an error of its own.
 * @returns the findings in the order of the checks
 */
export async function runChecks(checks: readonly Check[], context: Context, limitMs: number): Promise<Result[]> {
  const results = await Promise.all(
    checks.map(async (check) => {
      const started = performance.now();
      const findings = await runCheck(check, context, limitMs);
      const durationMs = Math.round(performance.now() - started);
      return findings.map((finding) => ({ group: check.group, check: check.name, ...finding, durationMs }));
    }),
  );
  return results.flat();
}

async function runCheck(check: Check, context: Context, limitMs: number): Promise<readonly Finding[]> {
  const { promise: late, resolve } = Promise.withResolvers<readonly Finding[]>();
  const timer = setTimeout(
    () => resolve([broken(`no result within ${limitMs / 1000} s`, "give it more time with --timeout=SECONDS")]),
    limitMs,
  );
  try {
    return await Promise.race([Promise.resolve().then(() => check.find(context)), late]);
  } catch (cause) {
    if (cause instanceof NotApplicable) return [skipped(cause.message)];
    if (isRefusal(cause)) return [skipped(`${describeError(cause)}: needs root; run it with sudo`)];
    return [broken(describeError(cause), "run tartan doctor again; should it stay, report it with this message")];
  } finally {
    clearTimeout(timer);
  }
}

function broken(why: string, fix: string): Finding {
  return { status: "error", message: `the check itself failed: ${why}`, fix };
}

/** Whether more rights would have helped. */
function isRefusal(cause: unknown): boolean {
  if (cause instanceof KernelError) return ["EPERM", "EACCES"].includes(cause.errnoName);
  return hasCode(cause, "EPERM", "EACCES");
}
