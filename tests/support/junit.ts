/** One test of a report in JUnit's XML, as `bun test --reporter=junit` writes it. */
export interface TestCase {
  readonly file: string;
  /** with the names of the `describe` blocks around it: `outer > inner > test` */
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
}

const CASE = /<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g;
const ENTITY = /&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi;
const NAMED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** Bun also lists the hooks of a skipped `describe`, by this name. */
const HOOK = "(unnamed)";

/** Reads the test cases of a report; attribute values hold no raw `<` or `>`. */
export function parseReport(xml: string): TestCase[] {
  const cases = [...xml.matchAll(CASE)].map(([, head = "", body = ""]) => {
    // Bun names the innermost `describe` first.
    const groups = attribute(head, "classname").split(" > ").filter(Boolean).reverse();
    const name = [...groups, attribute(head, "name")].join(" > ");
    return { file: attribute(head, "file"), name, outcome: outcomeOf(body) };
  });
  return cases.filter(({ name, outcome }) => outcome !== "skipped" || !name.endsWith(HOOK));
}

function outcomeOf(body: string): TestCase["outcome"] {
  if (/<(failure|error)\b/.test(body)) return "failed";
  return body.includes("<skipped") ? "skipped" : "passed";
}

function attribute(head: string, name: string): string {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(head)?.[1] ?? "";
  return value.replace(ENTITY, (whole, decimal?: string, hex?: string, named?: string) => {
    if (named !== undefined) return NAMED[named] ?? whole;
    return String.fromCodePoint(decimal === undefined ? Number.parseInt(hex ?? "", 16) : Number(decimal));
  });
}
