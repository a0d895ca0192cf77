import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import type { Lease } from "../../src/lease/lease.ts";
import { encodeAttributes } from "../../src/lease/wire.ts";
import { expectUsually } from "../support/usual-time.ts";
import { eventually } from "../support/wait.ts";
import { EmbeddedSample } from "./embedded-sample.ts";
import { Follower } from "./follower.ts";
import { address, attributesOf, macOf, NETWORK, requestOf } from "./samples.ts";

const never = new AbortController().signal;

let sample: EmbeddedSample;

beforeEach(() => {
  sample = new EmbeddedSample();
});

afterEach(async () => {
  await sample[Symbol.asyncDispose]();
});

const acquire = (n: number): Promise<Lease> => sample.open().acquire(requestOf(n), NETWORK, never);

test("processes that start at once never get one subnet twice", async () => {
  const processes = Array.from({ length: 8 }, async (_, i) => {
    const command = [
      process.execPath,
      fileURLToPath(import.meta.resolve("./acquire-many.ts")),
      sample.path,
      `${1 + i * 7}`,
      "7",
    ];
    const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
    const [text, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
    expect(code).toBe(0);
    return v.parse(v.array(v.string()), JSON.parse(text));
  });
  const keys = (await Promise.all(processes)).flat();
  expect(new Set(keys).size).toBe(56);
  await using follower = new Follower(sample.open());
  expect((await follower.untilKeys(keys)).rejected).toEqual([]);
});

describe("a node", () => {
  test("whose address changed takes its lease back by its name, with the subnet and the MAC", async () => {
    const lease = await acquire(1);
    const request = requestOf(1, {
      publicIPs: { 4: address("172.31.99.99") },
      vteps: { 4: { vni: 1, mac: macOf(99) } },
    });
    const moved = await sample.open().acquire(request, NETWORK, never);
    expect(moved).toEqual({ ...lease, publicIPs: request.publicIPs, expiresAt: moved.expiresAt ?? 0 });
    await using follower = new Follower(sample.open());
    expect((await follower.untilKeys([lease.key])).leases).toMatchObject([{ publicIPs: { 4: "172.31.99.99" } }]);
  });

  test("whose lease was made a reservation keeps it without an end", async () => {
    const lease = await acquire(1);
    sample.sql("UPDATE leases SET expires_at = NULL");
    const source = sample.open();
    const kept = await source.acquire(requestOf(1), NETWORK, never);
    expect(kept).not.toHaveProperty("expiresAt");
    expect(await source.renew(kept, never)).toBe(kept);
    await sample.expiry.pass(sample.expiry.ttlMs * 9);
    await using follower = new Follower(source);
    await follower.untilKeys([lease.key]);
  });

  test("takes a reservation that somebody wrote for its address", async () => {
    await acquire(2);
    sample.sql(
      "INSERT INTO leases(key, value) VALUES (?, ?)",
      "10.244.40.0-24",
      '{"PublicIP":"172.31.0.1","BackendType":"vxlan"}',
    );
    expect(await acquire(1)).toMatchObject({ key: "10.244.40.0-24", vteps: attributesOf(1).vteps, node: "node-1" });
  });

  test("has its own broken row repaired, though only its name is left in it", async () => {
    const lease = await acquire(1);
    sample.sql("UPDATE leases SET value = 'garbage'");
    const again = await sample.open().acquire(requestOf(1, { previous: lease.subnets }), NETWORK, never);
    expect(again.key).toBe(lease.key);
  });

  test("gets the same object from acquire and from the next snapshot", async () => {
    const source = sample.open();
    const lease = await source.acquire(requestOf(1), NETWORK, never);
    await using follower = new Follower(source);
    expect((await follower.untilKeys([lease.key])).leases[0]).toBe(lease);
  });
});

test("garbage in any column rejects its row and no other", async () => {
  const good = await acquire(1);
  const value = encodeAttributes(attributesOf(2));
  const blob = new Uint8Array([0xff, 0x00, 0xfe]);
  const rows: readonly (readonly [reason: string, ...columns: (string | number | null | Uint8Array)[]])[] = [
    ["column key must be a text, not null", null, value, null, 1, null],
    ["column key must be a text", blob, value, null, 1, null],
    ["column value must be a text, not null", "10.244.160.0-24", null, null, 1, null],
    ["column value must be a text", "10.244.161.0-24", blob, null, 1, null],
    ["column value is too long", "10.244.162.0-24", "x".repeat(100_000), null, 1, null],
    ["column node must be a node's name", "10.244.163.0-24", value, "a\nb", 1, null],
    ["column node must be a text", "10.244.164.0-24", value, blob, 1, null],
    ["column created_at must be a time", "10.244.165.0-24", value, null, "yesterday", null],
    ["column created_at must be a time", "10.244.166.0-24", value, null, -1, null],
    ["column created_at must be a time", "10.244.167.0-24", value, null, 1.5, null],
    ["column expires_at must be a time", "10.244.168.0-24", value, null, 1, "never"],
    ["column expires_at must be a time", "10.244.169.0-24", value, null, 1, blob],
    ["column expires_at must be a time", "10.244.170.0-24", value, null, 1, 1e300],
  ];
  for (const [, ...columns] of rows) sample.sql("INSERT INTO leases VALUES (?, ?, ?, ?, ?)", ...columns);
  await using follower = new Follower(sample.open());
  const snapshot = await follower.until("a snapshot", () => true);
  expect(snapshot.leases.map(({ key }) => key)).toEqual([good.key]);
  const reasons = snapshot.rejected.map(({ reason }) => reason).sort();
  expect(reasons).toHaveLength(rows.length);
  for (const [i, reason] of rows
    .map(([reason]) => reason)
    .sort()
    .entries())
    expect(reasons[i]).toStartWith(reason);
  // An unreadable end is none: the rows stay, and go on to block their subnets.
  await sample.expiry.pass(sample.expiry.ttlMs / 2);
  await acquire(3);
  await follower.until(
    "another lease",
    ({ leases, rejected }) => leases.length === 2 && rejected.length === rows.length,
  );
});

test("nothing is told where nothing changed in the rows", async () => {
  const source = sample.open();
  const lease = await source.acquire(requestOf(1), NETWORK, never);
  // BLOBs are new objects each time that they are read.
  sample.sql("INSERT INTO leases VALUES ('x', ?, NULL, NULL, NULL)", new Uint8Array([1, 2, 3]));
  await using follower = new Follower(source);
  await follower.untilKeys([lease.key]);
  for (let i = 0; i < 5; i++) {
    sample.sql("UPDATE leases SET node = node");
    sample.sql(`CREATE TABLE other${i} (a)`);
    utimesSync(sample.path, i, i);
    const before = source.contact.lastContactAt ?? 0;
    await eventually(() => (source.contact.lastContactAt ?? 0) > before, { within: 10_000, what: "another look" });
  }
  expect(follower.count).toBe(1);
  const second = await acquire(2);
  await follower.untilKeys([lease.key, second.key]);
  expect(follower.count).toBe(2);
});

describe("a new store", () => {
  test("is made with its directory, for its owner alone", async () => {
    await acquire(1);
    expect(statSync(sample.path).mode & 0o777).toBe(0o600);
    expect(readdirSync(sample.folder.at("run"))).toEqual(["leases.db"]);
  });

  test("may begin as an empty file, and as a table that somebody made by hand", async () => {
    mkdirSync(sample.folder.at("run"));
    writeFileSync(sample.path, "");
    const lease = await acquire(1);
    expect(lease.key).toStartWith("10.244.");
    rmSync(sample.path);
    sample.sql(
      "CREATE TABLE leases (key TEXT PRIMARY KEY, value TEXT, node TEXT, created_at INTEGER, expires_at INTEGER)",
    );
    expect((await acquire(1)).key).toStartWith("10.244.");
  });

  test("may be a link to a file elsewhere", async () => {
    mkdirSync(sample.folder.at("run"));
    writeFileSync(sample.folder.at("elsewhere"), "");
    symlinkSync(sample.folder.at("elsewhere"), sample.path);
    await using follower = new Follower(sample.open());
    await follower.untilKeys([]);
    const keys: string[] = [];
    // The folder's watch does not tell of a file elsewhere; it must not be waited for as long as beside one that does.
    await expectUsually(1500, async () => {
      keys.push((await acquire(keys.length + 1)).key);
      const start = performance.now();
      await follower.untilKeys(keys);
      return [performance.now() - start];
    });
  });

  test("in write-ahead mode works as well, and is taken out of it once nobody else uses it", async () => {
    await acquire(1);
    const other = new Database(sample.path);
    other.run("PRAGMA journal_mode = WAL");
    const source = sample.open();
    await using follower = new Follower(source);
    await follower.until("the lease", ({ leases }) => leases.length === 1);
    other.run("INSERT INTO leases(key, value) VALUES (?, ?)", ["10.244.9.0-24", encodeAttributes(attributesOf(9))]);
    await follower.until("the other's lease", ({ leases }) => leases.length === 2);
    await source.acquire(requestOf(2), NETWORK, never);
    other.close(true);
    source.close();
    await acquire(3);
    expect(readdirSync(sample.folder.at("run"))).toEqual(["leases.db"]);
  });
});

test("a client leaves no open file, no watch and no timer behind", async () => {
  const command = [process.execPath, fileURLToPath(import.meta.resolve("./come-and-go.ts")), sample.path];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  expect(await new Response(child.stdout).text()).toBe("[]");
  // It ends by itself.
  expect(await child.exited).toBe(0);
});

test("5,000 rows", async () => {
  const source = sample.open();
  await using follower = new Follower(source);
  await follower.untilKeys([]);
  const db = new Database(sample.path);
  const insert = db.prepare("INSERT INTO leases VALUES (?, ?, ?, ?, NULL)");
  // A third of the subnets of this network would do; the rest is what lies outside it.
  const rows = Array.from({ length: 5000 }, (_, n) => n);
  db.transaction(() => {
    for (const n of rows) {
      insert.run(`10.244.${n >> 5}.${(n & 31) * 8}-29`, encodeAttributes(attributesOf(n + 1)), `node-${n + 1}`, n);
    }
  })();
  let start = performance.now();
  await follower.until("5,000 leases", ({ leases }) => leases.length === 5000);
  const first = performance.now() - start;
  const changes: number[] = [];
  for (let n = 0; n < 20; n++) {
    start = performance.now();
    db.run("UPDATE leases SET value = ? WHERE key = ?", [encodeAttributes(attributesOf(6000 + n)), "10.244.0.0-29"]);
    const wanted = attributesOf(6000 + n).publicIPs[4];
    await follower.until("the change", ({ leases }) => leases.some(({ publicIPs }) => publicIPs[4] === wanted));
    changes.push(performance.now() - start);
  }
  db.close(true);
  changes.sort((a, b) => a - b);
  const figures = { firstMs: first, changeP50Ms: changes[10], changeMaxMs: changes.at(-1) };
  console.log(
    `5,000 rows: ${JSON.stringify(figures, (_, value) => (typeof value === "number" ? Math.round(value) : value))}`,
  );
  expect(follower.latest?.rejected).toEqual([]);
});
