import { beforeAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { versionOf } from "../../scripts/build/version.ts";
import { readElf } from "../../scripts/image/elf.ts";
import { MOST } from "../../scripts/image/report.ts";
import { SBOM } from "../../scripts/image/sbom.ts";
import { BUILD_TIMEOUT_MS, buildImage, unpackImage } from "../support/image.ts";
import { readArchive } from "../support/image-archive.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { unpackedCommand } from "../support/unpacked.ts";

const ROOT = join(import.meta.dir, "..", "..");
const README = readFileSync(join(ROOT, "README.md"), "utf8");

const Materials = v.object({ packages: v.array(v.object({ SPDXID: v.string(), name: v.string() })) });

const Lock = v.object({ packages: v.record(v.string(), v.object({ dev: v.optional(v.boolean()) })) });

/** A processor without AVX2 among those that qemu knows. */
const EMULATORS = [
  { architecture: "amd64", qemu: "qemu-x86_64-static", options: ["-cpu", "Nehalem"], machine: "x86-64" },
  { architecture: "arm64", qemu: "qemu-aarch64-static", options: [], machine: "AArch64" },
] as const;

describe.each(EMULATORS)("the image for $architecture", ({ architecture, qemu, options, machine }) => {
  const folder = useTemporaryFolder();
  const root = folder.at("root");
  let archive: Uint8Array;
  beforeAll(async () => {
    const path = await buildImage(architecture);
    archive = await Bun.file(path).bytes();
    await unpackImage(path, root);
  }, BUILD_TIMEOUT_MS);

  const emulator = unpackedCommand(qemu, "qemu-user-static");
  if (emulator === undefined) {
    console.error(`skipped: the image for ${architecture} under ${qemu}; get it with: node scripts/setup.mjs cluster`);
  }
  /** Runs a program of the image, with its own libraries, on an emulated processor. */
  const run = async (program: string, ...args: readonly string[]) => {
    const command = [emulator ?? qemu, ...options, "-L", root, join(root, program), ...args];
    const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { code, stdout, stderr };
  };

  test.skipIf(emulator === undefined)("runs", async () => {
    const stdout = `${await versionOf(ROOT)}\n`;
    expect(await run("usr/local/bin/tartan", "--version")).toMatchObject({ code: 0, stdout });
    // The nft one asks the kernel at once, by a socket that qemu does not know.
    expect(await run("usr/sbin/iptables-legacy", "--version")).toMatchObject({ code: 0, stderr: "" });
  });

  test("holds nothing that starts a shell or installs packages, and no program for another machine", async () => {
    const programs = ["usr/bin", "usr/sbin", "usr/local/bin", "opt/bin"].flatMap((name) =>
      existsSync(join(root, name)) ? readdirSync(join(root, name)) : [],
    );
    const ours = /^(ip6?tables(-legacy|-nft)?(-save|-restore)?|xtables-(legacy|nft)-multi|tartan|flanneld)$/;
    expect(programs.filter((name) => !ours.test(name))).toEqual([]);
    for (const name of ["usr/local/bin/tartan", "usr/sbin/xtables-nft-multi", "usr/sbin/xtables-legacy-multi"]) {
      expect(readElf(await Bun.file(join(root, name)).bytes()).machine).toBe(machine);
    }
  });

  test("holds its bill of materials, which is also beside it, and a licence for each package in it", async () => {
    const inside = await Bun.file(join(root, SBOM)).text();
    expect(await Bun.file(join(ROOT, "dist", `tartan-image-${architecture}.spdx.json`)).text()).toBe(inside);
    const { packages } = v.parse(Materials, JSON.parse(inside));
    const debian = packages.filter(({ SPDXID }) => SPDXID.startsWith("SPDXRef-debian-")).map(({ name }) => name);
    expect(debian).toContain("libnftables1");
    for (const name of debian) expect(existsSync(join(root, "usr/share/doc", name, "copyright"))).toBe(true);
    expect(packages.map(({ name }) => name)).toEqual(expect.arrayContaining(["bun", "hono", "valibot"]));
  });

  test("is as small as it was to be", () => {
    expect(archive.length).toBeLessThanOrEqual(MOST);
  });

  test("is about as large as the README says", () => {
    const [, ...told] = /^\| the archive \|(.*)\|(.*)\|$/m.exec(README.replaceAll(/ +/g, " ")) ?? [];
    const megabytes = Number(told[architecture === "amd64" ? 0 : 1]);
    expect(Math.abs(archive.length / 1e6 - megabytes)).toBeLessThan(1);
  });
});

describe("the same input", () => {
  const folder = useTemporaryFolder();

  /** The npm packages that go into the executable: as links they would still be in one place. */
  function installed(): string[] {
    const { packages } = v.parse(Lock, JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")));
    return Object.keys(packages).filter(
      (path) => path !== "" && packages[path]?.dev !== true && existsSync(join(ROOT, path)),
    );
  }

  /** Builds in a copy of the checkout without git, so that all the same is known of each. */
  async function build(
    name: string,
    umask: number,
    environment: Readonly<Record<string, string>>,
    cwd = folder.at(name),
  ) {
    const before = process.umask(umask);
    try {
      const root = folder.at(name);
      mkdirSync(root, { recursive: true });
      const parts = ["build.ts", "LICENSE", "package.json", "package-lock.json", "tsconfig.json", "src", "scripts"];
      for (const part of parts) cpSync(join(ROOT, part), join(root, part), { recursive: true });
      for (const path of installed()) cpSync(join(ROOT, path), join(root, path), { recursive: true });
      symlinkSync(join(ROOT, ".cache"), join(root, ".cache"));
      return await Bun.file(await buildImage("amd64", { root, cwd, environment })).bytes();
    } finally {
      process.umask(before);
    }
  }

  test(
    "gives the same archive in another folder, by another user; another version leaves Debian's layer as it is",
    async () => {
      const environment = { SOURCE_DATE_EPOCH: "1700000000" };
      const first = await build("first", 0o022, environment);
      const second = await build(join("a", "second"), 0o077, { ...environment, TZ: "Asia/Tokyo" }, "/");
      expect(Bun.hash(second)).toBe(Bun.hash(first));
      const old = readArchive(first);
      expect(old.config.config.Labels["org.opencontainers.image.created"]).toBe("2023-11-14T22:13:20Z");
      const now = readArchive(await Bun.file(await buildImage("amd64")).bytes());
      const same = now.manifest.layers.map(({ digest }, index) => digest === old.manifest.layers[index]?.digest);
      expect(same).toEqual([true, false]);
    },
    BUILD_TIMEOUT_MS,
  );
});
