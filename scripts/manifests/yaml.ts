import { type Document, stringify } from "yaml";

/** @param value data, or a document with comments @returns YAML without folded lines, with a line break at its end */
export function toYaml(value: Document | unknown): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** Several documents in one file. */
export function joined(texts: readonly string[]): string {
  return texts.join("---\n");
}
