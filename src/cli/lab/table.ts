interface Column {
  readonly title: string;
  readonly align?: "right";
}

/** Lays out rows in columns of equal width, two spaces apart, without trailing blanks. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, at) => Math.max(...lines.map((cells) => (cells[at] ?? "").length)));
  return lines.map((cells) =>
    columns
      .map(({ align }, at) => {
        const cell = cells[at] ?? "";
        return align === "right" ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0);
      })
      .join("  ")
      .trimEnd(),
  );
}
