// Where apt finds Debian 12's source packages: derived from where it finds the binary ones.

/** The lines and stanzas for apt, in its two forms; either may be empty. */
export interface AptSources {
  /** one-line form, for a `.list` file */
  readonly list: string;
  /** deb822 form, for a `.sources` file */
  readonly sources: string;
}

// Other vendors' archives name other suites or components. Backports and the like hold other versions.
const SUITE = /^(?:bookworm|stable|oldstable)(?:-security|-updates)?$/;
const COMPONENT = "main";
/** type, options, URI, suite, components */
const LINE = /^deb(?:-src)?\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(\S.*)$/;

/**
 * @param files apt's own sources, by name: `…/sources.list`, `….list` and `….sources`
 * @returns Debian 12's among them, as sources of source packages
 */
export function deriveSourceArchives(files: Readonly<Record<string, string>>): AptSources {
  const lines: string[] = [];
  const stanzas: string[] = [];
  for (const [name, text] of Object.entries(files)) {
    if (name.endsWith(".list")) lines.push(...text.split("\n").flatMap(deriveLine));
    else if (name.endsWith(".sources")) stanzas.push(...stanzasOf(text).flatMap(deriveStanza));
  }
  return { list: joined(lines, ""), sources: joined(stanzas, "\n") };
}

function joined(parts: readonly string[], between: string): string {
  return [...new Set(parts)].map((part) => `${part}\n`).join(between);
}

function deriveLine(text: string): string[] {
  const found = LINE.exec(text.replace(/#.*/, "").trim());
  if (found === null) return [];
  const [, options = "", uri = "", suite = "", components = ""] = found;
  if (isMedium(uri) || !SUITE.test(suite) || !words(components).includes(COMPONENT)) return [];
  return [`deb-src ${options}${uri} ${suite} ${COMPONENT}`];
}

function stanzasOf(text: string): Map<string, string>[] {
  // A comment may stand between the lines of a stanza, and does not end it.
  const lines = text.split("\n").filter((line) => !line.startsWith("#"));
  return lines
    .join("\n")
    .split(/\n(?:[ \t]*\n)+/)
    .map(fieldsOf);
}

/** By name in lower case. What goes on over several lines keeps its line breaks. */
function fieldsOf(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const [, name = "", value = ""] of stanza.matchAll(/^([^\s:]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)) {
    fields.set(name.toLowerCase(), value);
  }
  return fields;
}

function deriveStanza(fields: Map<string, string>): string[] {
  const of = (name: string) => words(fields.get(name) ?? "");
  const uris = of("uris").filter((uri) => !isMedium(uri));
  const suites = of("suites").filter((suite) => SUITE.test(suite));
  const isOff = /^(?:no|false|without|off|disable|0)$/i.test(of("enabled").join());
  const isWanted = of("types").some((type) => /^deb(?:-src)?$/.test(type)) && of("components").includes(COMPONENT);
  if (isOff || !isWanted || uris.length === 0 || suites.length === 0) return [];
  const own = { types: "deb-src", uris: uris.join(" "), suites: suites.join(" "), components: COMPONENT };
  const rest = [...fields].filter(([name]) => name !== "enabled" && !(name in own));
  return [[...Object.entries(own), ...rest].map(([name, value]) => `${name}: ${value}`).join("\n")];
}

/** Whether somebody would have to put it into a drive. */
function isMedium(uri: string): boolean {
  return uri.startsWith("cdrom:");
}

function words(text: string): string[] {
  return text.split(/\s+/).filter(Boolean);
}
