import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { table, truncate } from "../../src/cli/table.ts";

const COLUMNS = [
  { title: "NODE", shrink: 8 },
  { title: "RTT", align: "right" },
  { title: "WHY", shrink: 10 },
] as const;

describe("a table", () => {
  test("has columns of equal width, and no blanks at the end", () => {
    expect(
      table(COLUMNS, [
        ["n1", "0.2 ms", ""],
        ["node-2", "12 ms", "it hangs"],
      ]),
    ).toEqual(["NODE       RTT  WHY", "n1      0.2 ms", "node-2   12 ms  it hangs"]);
  });

  test("cuts what may be cut, the widest first", () => {
    const lines = table(COLUMNS, [["a-node-with-a-long-name.example.org", "1 ms", "x".repeat(60)]], 40);
    expect(lines[1]).toBe("a-node-with-a-l…  1 ms  xxxxxxxxxxxxxxx…");
    expect(lines.every((line) => Bun.stringWidth(line) <= 40)).toBe(true);
  });

  test("cuts nothing where there is room, and no further than a column lets it", () => {
    const rows = [["n".repeat(30), "1 ms", "y".repeat(30)]];
    expect(table(COLUMNS, rows, 200).join("\n")).not.toContain("…");
    expect(table(COLUMNS, rows, 5)[1]).toBe(`${"n".repeat(7)}…  1 ms  ${"y".repeat(9)}…`);
  });

  test("counts columns of the terminal, not characters", () => {
    const lines = table(
      [{ title: "A" }, { title: "B" }],
      [
        ["日本", "x"],
        ["abcd", "y"],
      ],
    );
    expect(lines.slice(1).map((line) => Bun.stringWidth(line))).toEqual([7, 7]);
  });

  test("whatever is in it, fits where columns may shrink", () => {
    const cell = fc.string({ unit: "grapheme", maxLength: 200 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(cell, cell), { maxLength: 20 }),
        fc.integer({ min: 20, max: 120 }),
        (rows, width) => {
          const columns = [
            { title: "ONE", shrink: 5 },
            { title: "TWO", shrink: 5 },
          ];
          const lines = table(columns, rows, width);
          expect(lines).toHaveLength(rows.length + 1);
          for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(width);
        },
      ),
    );
  });
});

test.each([
  ["abc", 3, "abc"],
  ["abcd", 3, "ab…"],
  ["日本語", 5, "日本…"],
  ["日本語", 4, "日…"],
  ["ab", 1, "…"],
])("%p in %d columns is %p", (text, width, expected) => {
  expect(truncate(text, width)).toBe(expected);
});
