/** The message of an error and of all its causes, in one line: `what: why: why that`. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  const seen = new Set<unknown>();
  for (let at: unknown = error; at !== undefined && at !== null; at = at instanceof Error ? at.cause : undefined) {
    if (seen.has(at)) break;
    seen.add(at);
    const text = (at instanceof Error ? at.message || at.name : String(at)).replace(/\s+/g, " ").trim();
    // A wrapper that already quotes its cause would say it twice.
    if (!parts.some((part) => part.includes(text))) parts.push(text);
  }
  return parts.join(": ");
}

/** Whether a failed system call failed with one of these errno names. */
export function hasCode(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof Error && "code" in error && names.some((name) => name === error.code);
}

/** A mistake of whoever configured or called us, to be told in one line and answered by exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** No agent answers where one was looked for: exit code 3. */
export class AgentAwayError extends Error {
  override readonly name = "AgentAwayError";
}

/** Of the executable, once a command failed. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2;
  return error instanceof AgentAwayError ? 3 : 1;
}
