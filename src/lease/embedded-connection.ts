import { Database, type Statement } from "bun:sqlite";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import * as v from "valibot";
import { codeOf, LeaseStoreError } from "./embedded-errors.ts";
import { COLUMNS, type Row } from "./embedded-rows.ts";

/** `PRAGMA user_version` of a store. */
const SCHEMA_VERSION = 1;

/** How long a write may block this process while another one writes, in milliseconds. Reads do not wait at all. */
const WRITE_WAIT = 50;

/** SQLite's smallest page: no database is shorter. */
const SMALLEST_PAGE = 512;

interface FileStamp {
  /** device and inode */
  readonly identity: string;
  readonly size: bigint;
  readonly modified: bigint;
}

/**
 * One open store: the file, its schema, its statements. Everything throws what SQLite or the file system threw.
 *
 * The store keeps SQLite's rollback journal. In write-ahead mode a file that is deleted, truncated or overwritten under
 * its users splits them into groups that see different rows, or stays unnoticed, because the log beside the file goes on
 * being used; with the journal the file alone is the store, SQLite refuses to write to one that was moved away, and
 * every such accident shows at the next read.
 */
export class StoreConnection {
  readonly #path: string;
  readonly #db: Database;
  readonly #identity: string;
  readonly #select: Statement;
  readonly #selectSince: Statement;
  readonly #counts: Statement;
  readonly #dataVersion: Statement;
  readonly #put: Statement;
  #ownCommits = 0;

  /** Opens the store; makes it, its directory and its schema if need be. A file that is no store is left as it is. */
  static open(path: string): StoreConnection {
    mkdirSync(dirname(path), { recursive: true });
    // The file may be replaced between two of these steps. SQLite pins what it opened, so what is there before and after
    // is what it opened.
    for (let attempt = 0; attempt < 5; attempt++) {
      const before = stampOf(path) ?? create(path);
      if (before === undefined) continue;
      const db = new Database(path, { readwrite: true, create: false });
      try {
        if (stampOf(path)?.identity === before.identity) return new StoreConnection(path, db, before.identity);
      } catch (error) {
        db.close(true);
        throw error;
      }
      db.close(true);
    }
    throw new LeaseStoreError(
      `lease store ${path}: the file does not stay in place; see who replaces it, or if it is a link`,
    );
  }

  private constructor(path: string, db: Database, identity: string) {
    this.#path = path;
    this.#db = db;
    this.#identity = identity;
    ensureSchema(path, db);
    this.#select = db.prepare(`SELECT rowid, ${COLUMNS.join(", ")} FROM leases`);
    this.#selectSince = db.prepare(
      `SELECT leases.rowid, ${COLUMNS.join(", ")} FROM lease_revisions JOIN leases ON leases.rowid = lease WHERE revision > ?`,
    );
    this.#counts = db.prepare(
      "SELECT coalesce((SELECT max(revision) FROM lease_revisions), 0), (SELECT count(*) FROM leases)",
    );
    this.#dataVersion = db.prepare("PRAGMA data_version");
    this.#put = db.prepare(
      `INSERT INTO leases (${COLUMNS.join(", ")}) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (key) DO UPDATE SET ${COLUMNS.map((column) => `${column} = excluded.${column}`).join(", ")}`,
    );
  }

  /** Whether the path still leads to this file. */
  isCurrent(): boolean {
    return stampOf(this.#path)?.identity === this.#identity;
  }

  /**
   * Changes whenever somebody may have changed the store, this connection included. Two system calls and no read.
   * `file` changes without `commits` if the file was written around SQLite.
   */
  version(): { readonly commits: string; readonly file: string } {
    const stamp = stampOf(this.#path);
    const [[version] = []] = this.#dataVersion.values();
    return { commits: `${version} ${this.#ownCommits}`, file: `${stamp?.size} ${stamp?.modified}` };
  }

  rows(): Row[] {
    return this.#select.values();
  }

  /** The rows that were added or changed after that revision. */
  rowsSince(revision: number): Row[] {
    return this.#selectSince.values(revision);
  }

  /**
   * The highest revision so far, and how many rows there are.
   * @returns undefined if somebody broke the revisions: then only reading all rows tells what there is
   */
  counts(): { readonly revision: number; readonly rows: number } | undefined {
    const counts = v.safeParse(countsRow, this.#counts.values()[0]);
    return counts.success ? { revision: counts.output[0], rows: counts.output[1] } : undefined;
  }

  /** Runs `change` in a transaction that is the only writer. */
  write<T>(change: () => T): T {
    this.#db.run(`PRAGMA busy_timeout = ${WRITE_WAIT}`);
    try {
      this.#db.run("BEGIN IMMEDIATE");
      try {
        const result = change();
        this.#db.run("COMMIT");
        this.#ownCommits++;
        return result;
      } catch (error) {
        if (this.#db.inTransaction) this.#db.run("ROLLBACK");
        throw error;
      }
    } finally {
      this.#db.run("PRAGMA busy_timeout = 0");
    }
  }

  /** @param times milliseconds since the epoch; null: it does not expire */
  put(key: string, value: string, node: string | null, times: { createdAt: number; expiresAt: number | null }): void {
    this.#put.run(key, value, node, times.createdAt, times.expiresAt);
  }

  setExpiry(key: string, expiresAt: number): void {
    this.#db.run("UPDATE leases SET expires_at = ? WHERE key = ?", [expiresAt, key]);
  }

  delete(key: string): void {
    this.#db.run("DELETE FROM leases WHERE key = ?", [key]);
  }

  /** A text or a BLOB is above every number for SQLite, NULL above none: neither expires. */
  deleteExpired(now: number): void {
    this.#db.run("DELETE FROM leases WHERE expires_at <= ?", [now]);
  }

  close(): void {
    this.#db.close(true);
  }
}

function stampOf(path: string): FileStamp | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  if (!stat.isFile()) {
    throw new LeaseStoreError(`lease store ${path}: it is not a regular file; name another file with --lease-store`);
  }
  return { identity: `${stat.dev} ${stat.ino}`, size: stat.size, modified: stat.mtimeNs };
}

/** Makes an empty file for SQLite to fill. @returns undefined if somebody else did */
function create(path: string): FileStamp | undefined {
  try {
    writeFileSync(path, "", { flag: "wx", mode: 0o600 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
  return stampOf(path);
}

const countsRow = v.tuple([v.number(), v.number()]);
const schemaRow = v.tuple([v.number(), v.number(), v.number()]);
/** user_version, number of all schema objects, number of tables called `leases` */
const SCHEMA_QUERY = `SELECT (SELECT user_version FROM pragma_user_version), count(*),
  coalesce(sum(type = 'table' AND name = 'leases'), 0) FROM sqlite_schema`;

function ensureSchema(path: string, db: Database): void {
  const { size = 0n } = stampOf(path) ?? {};
  // SQLite takes a file of one byte for an empty one and would write over it.
  if (size > 0n && size < SMALLEST_PAGE) {
    throw Object.assign(new Error(`file of ${size} bytes`), { code: "SQLITE_NOTADB" });
  }
  db.run(`PRAGMA busy_timeout = ${WRITE_WAIT}`);
  const read = () => v.parse(schemaRow, db.query(SCHEMA_QUERY).values()[0]);
  const [version, , tables] = read();
  if (version !== SCHEMA_VERSION || tables !== 1) {
    db.run("BEGIN IMMEDIATE");
    try {
      makeSchema(path, db, ...read());
      db.run("COMMIT");
    } catch (error) {
      if (db.inTransaction) db.run("ROLLBACK");
      throw error;
    }
  }
  leaveWal(db);
  db.run("PRAGMA busy_timeout = 0");
}

/**
 * The leases, and beside them the revision that each change of a row, by whomever, gives to that row: so one change among
 * thousands of rows is found without reading them all. What was deleted is missing from the count.
 */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS leases (
    key TEXT PRIMARY KEY, value TEXT, node TEXT, created_at INTEGER, expires_at INTEGER);
  CREATE TABLE IF NOT EXISTS lease_revisions (lease INTEGER PRIMARY KEY, revision INTEGER);
  CREATE INDEX IF NOT EXISTS lease_revisions_by_revision ON lease_revisions (revision);
  ${["INSERT", "UPDATE"]
    .map(
      (event) => `CREATE TRIGGER IF NOT EXISTS lease_${event.toLowerCase()} AFTER ${event} ON leases BEGIN
    INSERT INTO lease_revisions SELECT NEW.rowid, coalesce(max(revision), 0) + 1 FROM lease_revisions WHERE true
      ON CONFLICT (lease) DO UPDATE SET revision = excluded.revision;
  END;`,
    )
    .join("\n  ")}
  CREATE TRIGGER IF NOT EXISTS lease_delete AFTER DELETE ON leases BEGIN
    DELETE FROM lease_revisions WHERE lease = OLD.rowid AND revision < (SELECT max(revision) FROM lease_revisions);
  END`;

function makeSchema(path: string, db: Database, version: number, objects: number, tables: number): void {
  const foreign = version === 0 ? objects > 0 && tables === 0 : version !== SCHEMA_VERSION;
  if (foreign) {
    throw new LeaseStoreError(
      `lease store ${path}: this SQLite database is no lease store that this build knows (user_version ${version}); ` +
        "name another file with --lease-store",
    );
  }
  db.run(SCHEMA);
  db.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

/** The mode stays in the file; it can only be left while nobody else has the file open. Both modes work. */
function leaveWal(db: Database): void {
  try {
    db.run("PRAGMA journal_mode = DELETE");
  } catch (error) {
    if (!codeOf(error).startsWith("SQLITE_BUSY") && !codeOf(error).startsWith("SQLITE_LOCKED")) throw error;
  }
}
