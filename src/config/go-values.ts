// Values in the notation of Go's flag package (strconv.ParseBool, strconv.ParseInt with base 0), which flanneld uses.

const BOOLS: ReadonlyMap<string, boolean> = new Map([
  ...["1", "t", "T", "true", "TRUE", "True"].map((text): [string, boolean] => [text, true]),
  ...["0", "f", "F", "false", "FALSE", "False"].map((text): [string, boolean] => [text, false]),
]);

export function parseGoBool(text: string): boolean | undefined {
  return BOOLS.get(text);
}

const INTEGER = /^([+-]?)(?:0x((?:_?[0-9a-f])+)|0b((?:_?[01])+)|0o?((?:_?[0-7])+)|(0|[1-9](?:_?[0-9])*))$/i;

/** A 64-bit integer: decimal, or with `0x`, `0b`, `0o` or `0` in front; single underscores may part the digits. */
export function parseGoInt(text: string): bigint | undefined {
  const match = INTEGER.exec(text);
  if (match === null) return undefined;
  const [, sign, hex, binary, octal, decimal] = match;
  const [radix, digits] = hex ? ["0x", hex] : binary ? ["0b", binary] : octal ? ["0o", octal] : ["", decimal ?? ""];
  const magnitude = BigInt(radix + digits.replaceAll("_", ""));
  const value = sign === "-" ? -magnitude : magnitude;
  return BigInt.asIntN(64, value) === value ? value : undefined;
}
