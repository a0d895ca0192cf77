import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Architecture } from "../../scripts/image/platforms.ts";
import { readArchive } from "./image-archive.ts";

const ROOT = join(import.meta.dir, "..", "..");
/** of a build that has to download first */
export const BUILD_TIMEOUT_MS = 600_000;

/** Builds an image's archive into `root`/dist. @returns its path @throws Error with what the build printed */
export async function buildImage(
  architecture: Architecture,
  {
    root = ROOT,
    cwd = root,
    environment = {},
  }: { root?: string; cwd?: string; environment?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const child = Bun.spawn([process.execPath, join(root, "build.ts"), "image", `--arch=${architecture}`], {
    cwd,
    env: { ...process.env, ...environment },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code !== 0) throw new Error(`build.ts image: exit code ${code}: ${stderr}${stdout}`);
  return join(root, "dist", `tartan-image-${architecture}.tar`);
}

/** Unpacks all layers of an archive into a new folder. */
export async function unpackImage(path: string, folder: string): Promise<void> {
  mkdirSync(folder);
  for (const layer of readArchive(await Bun.file(path).bytes()).layers) {
    const command = ["tar", "-x", "--no-same-owner", "-C", folder, "-f", "-"];
    const child = Bun.spawn(command, { stdin: layer, stdout: "ignore", stderr: "pipe" });
    if ((await child.exited) !== 0) throw new Error(`tar: ${await child.stderr.text()}`);
  }
}
