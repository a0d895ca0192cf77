/** A pattern that is not a regular expression. */
export class PatternError extends Error {
  override readonly name = "PatternError";
}

const TOKEN = /\\x\{|\\[\s\S]|\[:\^?[a-z]+:\]|\(\?P</g;

/** What Go's RE2 syntax has and JavaScript would silently take for something else. */
const GO_ONLY: ReadonlyMap<string, string> = new Map([
  ["\\A", "use ^"],
  ["\\z", "use $"],
  ["\\Q", "put a backslash before each special character"],
  ["\\E", "put a backslash before each special character"],
  ["\\a", "use \\x07"],
  ["\\C", "use ."],
  ["\\p", "use a class such as [a-z]"],
  ["\\P", "use a class such as [^a-z]"],
  ["\\x{", "use two digits, as in \\x2e"],
]);

/**
 * Compiles a pattern of `--iface-regex`. Flanneld reads it as Go's RE2 syntax; nearly all of that is JavaScript's too.
 * Flags in front (`(?i)`) and named groups (`(?P<n>…)`) are translated, the rest of what differs is refused.
 * @throws PatternError with the cause and, where it is known, the position (1 is the first character)
 */
export function compileInterfaceRegex(pattern: string): RegExp {
  const flags = /^\(\?([ims]+)\)/.exec(pattern);
  const source = pattern.replaceAll(TOKEN, (token, at: number) => {
    if (token === "(?P<") return "(?<";
    const advice = token.startsWith("[:") ? "use a class such as [a-z]" : GO_ONLY.get(token);
    if (advice !== undefined) throw new PatternError(`${token} at character ${at + 1} is not supported, ${advice}`);
    return token;
  });
  try {
    return flags ? new RegExp(source.slice(flags[0].length), [...new Set(flags[1])].join("")) : new RegExp(source);
  } catch (error) {
    const cause = error instanceof Error ? error.message.replace(/^Invalid regular expression:\s*/, "") : String(error);
    throw new PatternError(cause, { cause: error });
  }
}
