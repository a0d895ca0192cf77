import * as v from "valibot";
import { mustBe } from "../config/schema.ts";
import { type Candidate, decodeRecord, RecordMemo } from "./records.ts";

/** A row of the table as SQLite gives it: rowid, key, value, node, created_at, expires_at. Anything may stand in each. */
export type Row = readonly unknown[];

export const COLUMNS = ["key", "value", "node", "created_at", "expires_at"] as const;

export interface StoredRecord {
  readonly candidate: Candidate;
  /** milliseconds since the epoch; undefined where the record does not expire, or nobody can tell */
  readonly expiresAt: number | undefined;
}

const milliseconds = v.nullable(
  v.pipe(
    v.number(mustBe("a time in milliseconds, or NULL")),
    v.safeInteger(mustBe("a time in whole milliseconds, or NULL")),
    v.minValue(0, mustBe("a time since the epoch, or NULL")),
  ),
);

/** A Node's name, or whatever else is printable: it goes into logs and tables. */
const nodeName = v.nullable(
  v.pipe(v.string(mustBe("a text, or NULL")), v.regex(/^[\x21-\x7e]{0,253}$/, mustBe("a node's name, or NULL"))),
);

/** Longer than any lease: not worth reading. */
const MOST_CHARACTERS = 65_536;

const text = v.pipe(v.string(mustBe("a text")), v.maxLength(MOST_CHARACTERS, "is too long"));

const rowSchema = v.tuple([v.number(), text, text, nodeName, milliseconds, milliseconds]);

/** Reads one row. It never throws: what is wrong with a row is the reason for its rejection. */
function decodeRow(row: Row): StoredRecord {
  const result = v.safeParse(rowSchema, row, { abortEarly: true });
  if (result.success) {
    const [, key, value, node, createdAt, expiresAt] = result.output;
    const candidate = decodeRecord({
      key,
      value,
      ...(node === null || node === "" ? {} : { node }),
      ...(createdAt === null ? {} : { createdAt }),
      ...(expiresAt === null ? {} : { expiresAt }),
      // A row that does not say how old it is takes nothing from the others.
      rank: createdAt ?? Number.POSITIVE_INFINITY,
    });
    return { candidate, expiresAt: expiresAt ?? undefined };
  }
  const [issue] = result.issues;
  const [rowid, key, , node, , expiresAt] = row;
  const index = issue.path?.[0].key;
  const column = typeof index === "number" && index > 0 ? `column ${COLUMNS[index - 1]}` : "the row";
  const rejected = {
    key: typeof key === "string" ? key.slice(0, 200) : `row ${rowid}`,
    ...(v.is(nodeName, node) && node ? { node } : {}),
    reason: `${column} ${issue.message}`,
  };
  return { candidate: { rejected }, expiresAt: v.is(milliseconds, expiresAt) ? (expiresAt ?? undefined) : undefined };
}

export function makeRowMemo(): RecordMemo<Row, StoredRecord> {
  return new RecordMemo((row) => row[0], sameRow, decodeRow);
}

function sameRow(a: Row, b: Row): boolean {
  return a.every((value, column) => sameValue(value, b[column]));
}

function sameValue(a: unknown, b: unknown): boolean {
  return a === b || (a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0);
}
