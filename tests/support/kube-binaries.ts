import { describe } from "bun:test";
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { etcdMissing } from "./etcd.ts";

const ROOT = join(import.meta.dir, "..", "..");
/** packed binaries beside the checkout */
const PACKED = join(ROOT, "..", "shared", "envtest");
const CACHE = join(ROOT, ".cache", "envtest");
const NAMES = ["kube-apiserver", "kube-controller-manager"] as const;

export type KubeBinary = (typeof NAMES)[number];

function holdsAll(folder: string): boolean {
  return NAMES.every((name) => existsSync(join(folder, name)));
}

function unpack(): string | undefined {
  mkdirSync(CACHE, { recursive: true });
  for (const name of NAMES) {
    const target = join(CACHE, name);
    const packed = join(PACKED, `${name}.xz`);
    if (existsSync(target) || !existsSync(packed)) continue;
    const xz = Bun.which("xz");
    if (xz === null) return "xz, to unpack them (Debian: xz-utils)";
    const temporary = `${target}.${process.pid}`;
    try {
      const { exitCode, stderr } = Bun.spawnSync([xz, "-dkc", packed], { stdout: Bun.file(temporary), stderr: "pipe" });
      if (exitCode !== 0) return `a sound ${packed}: ${stderr.toString().trim()}`;
      chmodSync(temporary, 0o755);
      renameSync(temporary, target);
    } finally {
      rmSync(temporary, { force: true });
    }
  }
  return undefined;
}

/** The folder with the servers, or what is missing. */
function find(): { readonly folder: string } | { readonly missing: string } {
  const named = process.env["KUBEBUILDER_ASSETS"];
  const both = NAMES.join(" and ");
  if (named && holdsAll(named)) return { folder: named };
  if (named) return { missing: `${both} in KUBEBUILDER_ASSETS (${named}); without it, npm run envtest builds them` };
  const missing = holdsAll(CACHE) ? undefined : unpack();
  if (missing !== undefined) return { missing };
  if (holdsAll(CACHE)) return { folder: CACHE };
  return { missing: `${both}: npm run envtest builds them (about ten minutes)` };
}

const found = find();

/** @throws Error that says what is missing */
export function kubeBinary(name: KubeBinary): string {
  if ("missing" in found) throw new Error(`needs ${found.missing}`);
  return join(found.folder, name);
}

/** What is missing on this machine, and how to get it. */
export function kubernetesMissing(): string | undefined {
  if ("missing" in found) return found.missing;
  if (Bun.which("openssl") === null) return "the command openssl";
  return etcdMissing();
}

/** `describe` for tests that run a real API server. Where there is none, it skips them and says in one line how to get it. */
export function describeWithKubernetes(name: string, tests: () => void): void {
  const missing = kubernetesMissing();
  if (missing !== undefined) console.error(`skipped: ${name}: needs ${missing}`);
  describe.skipIf(missing !== undefined)(name, tests);
}
