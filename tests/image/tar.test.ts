import { describe, expect, test } from "bun:test";
import { lstatSync, mkdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { layer } from "../../scripts/image/layer.ts";
import { tar } from "../../scripts/image/tar.ts";
import { complete, directory, file, join, symlink, type Tree } from "../../scripts/image/tree.ts";
import { writeTree } from "../../scripts/image/write-tree.ts";
import { TemporaryFolder } from "../support/temp.ts";

const MTIME = 1_700_000_000;
const LONG = `usr/share/doc/${"a".repeat(60)}/${"b".repeat(60)}/copyright`;

const sample: Tree = new Map([
  ["usr/bin/program", file("\x7fELF", 0o755)],
  ["etc/name", file("text\n")],
  ["bin", symlink("usr/bin")],
  ["tmp", directory(0o1777)],
  ["empty", file("")],
  ["block", file("x".repeat(512))],
  [LONG, file("long")],
]);

/** What GNU tar makes of an archive. */
async function gnuTar(archive: Uint8Array, ...options: string[]): Promise<string> {
  const child = Bun.spawn(["tar", ...options], {
    stdin: Buffer.from(archive),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, TZ: "UTC", LC_ALL: "C" },
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

describe("tar", () => {
  test("is read by another tar: order, modes, owners, times, links", async () => {
    const listed = await gnuTar(tar(sample, MTIME), "-tv", "--full-time", "--numeric-owner", "-f", "-");
    const time = "2023-11-14 22:13:20";
    expect(listed.trimEnd().replace(/ +/g, " ").split("\n")).toEqual([
      `lrwxrwxrwx 0/0 0 ${time} bin -> usr/bin`,
      `-rw-r--r-- 0/0 512 ${time} block`,
      `-rw-r--r-- 0/0 0 ${time} empty`,
      `drwxr-xr-x 0/0 0 ${time} etc/`,
      `-rw-r--r-- 0/0 5 ${time} etc/name`,
      `drwxrwxrwt 0/0 0 ${time} tmp/`,
      `drwxr-xr-x 0/0 0 ${time} usr/`,
      `drwxr-xr-x 0/0 0 ${time} usr/bin/`,
      `-rwxr-xr-x 0/0 4 ${time} usr/bin/program`,
      `drwxr-xr-x 0/0 0 ${time} usr/share/`,
      `drwxr-xr-x 0/0 0 ${time} usr/share/doc/`,
      `drwxr-xr-x 0/0 0 ${time} usr/share/doc/${"a".repeat(60)}/`,
      `drwxr-xr-x 0/0 0 ${time} ${LONG.slice(0, LONG.lastIndexOf("/"))}/`,
      `-rw-r--r-- 0/0 4 ${time} ${LONG}`,
    ]);
  });

  test("keeps contents", async () => {
    using folder = new TemporaryFolder();
    await gnuTar(tar(sample, MTIME), "-x", "-C", folder.path, "-f", "-");
    for (const [path, entry] of sample) {
      if (entry.type === "file") expect(readFileSync(folder.at(path)).equals(entry.content)).toBe(true);
      if (entry.type === "symlink") expect(readlinkSync(folder.at(path))).toBe(entry.target);
    }
  });

  test("does not depend on the order in which files were found", () => {
    expect(tar(new Map([...sample].reverse()), MTIME)).toEqual(tar(sample, MTIME));
  });

  test.each([
    ["a".repeat(101), file("")],
    [`${"a".repeat(160)}/b`, file("")],
    ["link", symlink("a".repeat(101))],
  ])("refuses what its form can't hold: %s", (path, entry) => {
    expect(() => tar(new Map([[path, entry]]), MTIME)).toThrow("too long for tar");
  });
});

describe("a tree", () => {
  test("holds no path twice", () => {
    expect(() => join(sample, new Map([["bin", directory()]]))).toThrow("bin twice");
  });

  test("holds nothing under a file or a link", () => {
    expect(() => complete(join(sample, new Map([["bin/sh", file("")]])))).toThrow("bin/sh would be under bin");
  });

  test("is written as files, whatever the umask", () => {
    using folder = new TemporaryFolder();
    const umask = process.umask(0o077);
    try {
      writeTree(sample, folder.at("tree"));
    } finally {
      process.umask(umask);
    }
    const mode = (path: string) => statSync(folder.at("tree", path)).mode & 0o7777;
    expect(["usr/bin", "usr/bin/program", "etc/name", "tmp"].map(mode)).toEqual([0o755, 0o755, 0o644, 0o1777]);
    expect(lstatSync(folder.at("tree", "bin")).isSymbolicLink()).toBe(true);
    mkdirSync(folder.at("other"));
    expect(() => writeTree(sample, folder.at("other"))).toThrow("EEXIST");
  });
});

test("a layer is a compressed tar, known by both digests", () => {
  const { content, digest, diffId } = layer("sample", sample, MTIME);
  const sha256 = (bytes: Uint8Array) => `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
  expect(digest).toBe(sha256(content));
  expect(diffId).toBe(sha256(tar(sample, MTIME)));
  expect(Bun.gunzipSync(content)).toEqual(tar(sample, MTIME));
  // gzip's header has a place for a time: RFC 1952.
  expect([...content.slice(4, 8)]).toEqual([0, 0, 0, 0]);
});
