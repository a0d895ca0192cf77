import { styleText } from "node:util";

export interface Column {
  readonly title: string;
  readonly align?: "right";
  /** may be cut short, to no less than this many columns of the terminal, where a row is too long */
  readonly shrink?: number;
}

/** Between two columns. */
const GAP = 2;
const ELLIPSIS = "…";

/**
 * Lays out rows in columns of equal width, two spaces apart, without trailing blanks.
 * @param width that a line may have; where that is too little, the columns that may shrink do, the widest first
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width = Number.POSITIVE_INFINITY,
): string[] {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, at) => Math.max(...lines.map((cells) => Bun.stringWidth(cells[at] ?? ""))));
  shrink(columns, widths, width);
  return lines.map((cells) =>
    columns
      .map(({ align }, at) => {
        const room = widths[at] ?? 0;
        const cell = truncate(cells[at] ?? "", room);
        const blanks = " ".repeat(Math.max(0, room - Bun.stringWidth(cell)));
        return align === "right" ? blanks + cell : cell + blanks;
      })
      .join(" ".repeat(GAP))
      .trimEnd(),
  );
}

/** Makes columns narrower, always the widest of those that may be, until the line fits or none may shrink any more. */
function shrink(columns: readonly Column[], widths: number[], width: number): void {
  let tooMuch = widths.reduce((sum, one) => sum + one + GAP, -GAP) - width;
  while (tooMuch > 0) {
    let widest = -1;
    for (const [at, { shrink: least }] of columns.entries()) {
      const own = widths[at] ?? 0;
      if (least !== undefined && own > least && own > (widths[widest] ?? 0)) widest = at;
    }
    if (widest < 0) return;
    widths[widest] = (widths[widest] ?? 0) - 1;
    tooMuch--;
  }
}

/** A text of at most `width` columns; what is cut off shows as …. */
export function truncate(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  let out = "";
  let used = 0;
  for (const character of text) {
    used += Bun.stringWidth(character);
    if (used > width - 1) break;
    out += character;
  }
  return out + ELLIPSIS;
}

/** A text in lines of at most `width` columns, broken at its blanks: a longer word, such as a command's argument, stays whole. */
export function wrap(text: string, width: number): string[] {
  if (Bun.stringWidth(text) <= width) return [text];
  return Bun.wrapAnsi(text, Math.max(20, width), { trim: true }).split("\n");
}

export type Colour = "green" | "yellow" | "red" | "bold" | "dim";

/** Marks text for the eye; where there are no colours it returns the text as it is. */
export type Paint = (colour: Colour, text: string) => string;

/** Whether a stream gets colours: a terminal that knows them, unless NO_COLOR is set (https://no-color.org). */
export function wantsColours(
  stream: { readonly isTTY?: boolean },
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  return canDraw(stream, environment) && !environment["NO_COLOR"];
}

/** Whether a stream is a terminal that knows control sequences. */
export function canDraw(
  { isTTY }: { readonly isTTY?: boolean },
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  return isTTY === true && environment["TERM"] !== "dumb";
}

export function paintFor(stream: NodeJS.WriteStream): Paint {
  if (!wantsColours(stream, process.env)) return (_, text) => text;
  return (colour, text) => styleText(colour, text, { validateStream: false });
}

/** Columns that a line may have: those of the terminal, else 80. */
export function lineWidth(stream: NodeJS.WriteStream): number {
  return stream.isTTY && stream.columns > 0 ? stream.columns : 80;
}
