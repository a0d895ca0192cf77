import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import type { Lease } from "../../src/lease/lease.ts";
import { expectUsually } from "../support/usual-time.ts";
import { eventually } from "../support/wait.ts";
import { EmbeddedSample } from "./embedded-sample.ts";
import { Follower } from "./follower.ts";
import { NETWORK, requestOf } from "./samples.ts";

const never = new AbortController().signal;
const GARBAGE = "no database at all. ".repeat(1000);

let sample: EmbeddedSample;

beforeEach(() => {
  sample = new EmbeddedSample();
});

afterEach(async () => {
  await sample[Symbol.asyncDispose]();
});

const acquire = (n: number): Promise<Lease> => sample.open().acquire(requestOf(n), NETWORK, never);

/** What may happen to the file, and how the store answers it: goes on with a new one at once, or tells that it can't. */
const accidents: readonly (readonly [name: string, cause: () => void, told: string | undefined])[] = [
  ["deleted", () => rmSync(sample.path), undefined],
  ["emptied", () => truncateSync(sample.path), undefined],
  ["deleted with its directory", () => rmSync(sample.folder.at("run"), { recursive: true }), undefined],
  ["robbed of its table", () => sample.sql("DROP TABLE leases"), undefined],
  ["overwritten with garbage", () => writeFileSync(sample.path, GARBAGE), "it is not a SQLite database; move it away"],
  ["overwritten with one byte", () => writeFileSync(sample.path, "x"), "it is not a SQLite database; move it away"],
  [
    "replaced by garbage",
    () => {
      writeFileSync(`${sample.path}.new`, GARBAGE);
      renameSync(`${sample.path}.new`, sample.path);
    },
    "it is not a SQLite database; move it away",
  ],
  ["cut in half", () => truncateSync(sample.path, statSync(sample.path).size / 2), "it is damaged; move it away"],
  [
    "replaced by a directory",
    () => {
      rmSync(sample.path);
      mkdirSync(sample.path);
    },
    "it is not a regular file",
  ],
  [
    "replaced by another program's database",
    () => {
      rmSync(sample.path);
      new Database(sample.path, { create: true }).run("CREATE TABLE bookmarks (url)");
    },
    "this SQLite database is no lease store",
  ],
];

describe("while agents run, the store is", () => {
  test.each(accidents)("%s", async (name, cause, told) => {
    const [one, two] = [sample.open(), sample.open()];
    const lease = await one.acquire(requestOf(1), NETWORK, never);
    await using follower = new Follower(two);
    await follower.untilKeys([lease.key]);
    cause();
    if (told !== undefined) {
      await eventually(() => two.contact.error?.message.includes(told), { within: 10_000, what: told });
      expect(two.contact.error?.message).toContain(sample.path);
      await expect(two.acquire(requestOf(3), NETWORK, never)).rejects.toThrow(told);
      if (name.includes("garbage")) expect(readFileSync(sample.path, "utf8")).toBe(GARBAGE);
      rmSync(sample.path, { recursive: true });
    }
    await follower.untilKeys([]);
    expect(two.contact.error).toBeUndefined();
    // What all of them see and share is the new store.
    const again = await one.acquire(requestOf(1, { previous: lease.subnets }), NETWORK, never);
    expect(again.key).toBe(lease.key);
    await follower.untilKeys([lease.key]);
  });

  test("replaced by a copy from before, in place or by a new file", async () => {
    const [one, two] = [sample.open(), sample.open()];
    const first = await one.acquire(requestOf(1), NETWORK, never);
    copyFileSync(sample.path, sample.folder.at("backup"));
    await using follower = new Follower(two);
    for (const restore of [
      () => copyFileSync(sample.folder.at("backup"), sample.path),
      () => {
        copyFileSync(sample.folder.at("backup"), `${sample.path}.new`);
        renameSync(`${sample.path}.new`, sample.path);
      },
    ]) {
      const second = await one.acquire(requestOf(2), NETWORK, never);
      await follower.untilKeys([first.key, second.key]);
      restore();
      await follower.untilKeys([first.key]);
    }
    expect(two.contact.error).toBeUndefined();
  });

  test("deleted, which is noticed in 300 ms", async () => {
    const source = sample.open();
    await using follower = new Follower(source);
    await expectUsually(300, async () => {
      const taken: number[] = [];
      for (let i = 0; i < 5; i++) {
        const lease = await acquire(1);
        await follower.untilKeys([lease.key]);
        const start = performance.now();
        rmSync(sample.path);
        await follower.untilKeys([]);
        taken.push(performance.now() - start);
      }
      return taken;
    });
  });
});

describe("the store can't be used because", () => {
  test("its directory can't be made: it is told, and used once it can", async () => {
    writeFileSync(sample.folder.at("run"), "in the way");
    const source = sample.open();
    await using follower = new Follower(source);
    await eventually(() => source.contact.error, { within: 10_000, what: "an error" });
    expect(source.contact.error?.message).toMatch(/^lease store .*leases\.db: .*run.* name another.*--lease-store/);
    await expect(source.acquire(requestOf(1), NETWORK, never)).rejects.toThrow("lease store");
    rmSync(sample.folder.at("run"));
    await follower.untilKeys([]);
    expect(source.contact.error).toBeUndefined();
  });

  test("somebody holds it: reads and writes wait, and tell if it lasts", async () => {
    const lease = await acquire(1);
    const source = sample.open();
    await using follower = new Follower(source);
    await follower.untilKeys([lease.key]);
    const holder = new Database(sample.path);
    holder.run("BEGIN EXCLUSIVE");
    const late = source.acquire(requestOf(2), NETWORK, never);
    await eventually(() => source.contact.error, { within: 10_000, what: "an error" });
    expect(source.contact.error?.message).toContain("another process holds a transaction on it");
    holder.run("COMMIT");
    holder.close(true);
    const second = await late;
    await follower.untilKeys([lease.key, second.key]);
    expect(source.contact.error).toBeUndefined();
  });

  test("somebody else holds it for long: acquiring gives up with the reason", async () => {
    await acquire(1);
    const holder = new Database(sample.path);
    holder.run("BEGIN IMMEDIATE");
    const message = "another process holds a transaction on it; end that one";
    await expect(acquire(2)).rejects.toThrow(message);
    // Readers are not kept out.
    await using follower = new Follower(sample.open());
    await follower.until("the first lease", ({ leases }) => leases.length === 1);
    holder.close(true);
  });

  test("a later version made it", async () => {
    await acquire(1);
    sample.sql("PRAGMA user_version = 2");
    await expect(acquire(2)).rejects.toThrow("no lease store that this build knows (user_version 2)");
  });

  test("it is closed", async () => {
    const source = sample.open();
    source.close();
    await expect(source.acquire(requestOf(1), NETWORK, never)).rejects.toThrow("is closed");
    await using follower = new Follower(source);
    await eventually(() => follower.ended, { within: 10_000, what: "the end of the watch" });
    expect(existsSync(sample.path)).toBe(false);
  });
});

test("whatever bytes the file has, the store answers or tells why not, and leaves what is no database alone", async () => {
  await acquire(1);
  const whole = readFileSync(sample.path);
  const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 20 });
  const files = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 5000 }),
    fc.tuple(damage, fc.nat(whole.length)).map(([bytes, length]) => {
      const copy = Uint8Array.from(whole);
      for (const [at, byte] of bytes) copy[at] = byte;
      return copy.subarray(0, length);
    }),
  );
  await fc.assert(
    fc.asyncProperty(files, async (bytes) => {
      await using broken = new EmbeddedSample();
      mkdirSync(broken.folder.at("run"));
      writeFileSync(broken.path, bytes);
      const source = broken.open();
      await using follower = new Follower(source);
      await eventually(() => source.contact.error ?? follower.latest, { within: 10_000, what: "an answer" });
      const isDatabase = Buffer.from(bytes.subarray(0, 16)).equals(whole.subarray(0, 16));
      if (bytes.length > 0 && !isDatabase) {
        expect(source.contact.error?.message).toContain("it is not a SQLite database");
        expect(Buffer.from(bytes).equals(readFileSync(broken.path))).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
});

const canMount = process.getuid?.() === 0 && Bun.spawnSync(["unshare", "--mount", "true"]).exitCode === 0;

describe.skipIf(!canMount)("the file system of the store", () => {
  test.each([
    ["full", "no space is left; free some in"],
    ["read-only", "it can't be written; check the permissions and the mount of"],
  ])("is %s: it is told, and used once it is not any more", async (state, told) => {
    mkdirSync(sample.folder.at("run"));
    const script = [process.execPath, fileURLToPath(import.meta.resolve("./bad-disk.ts")), sample.path, state];
    // A mount of its own, gone with the process.
    const command = `mount -t tmpfs -o size=128k tmpfs ${sample.folder.at("run")} && exec "$@"`;
    const child = Bun.spawn(["unshare", "--mount", "sh", "-c", command, "sh", ...script], {
      stdout: "pipe",
      stderr: "inherit",
    });
    expect(await new Response(child.stdout).text()).toContain(told);
    expect(await child.exited).toBe(0);
  });
});
