// `bun build.ts image`: its options, and what it writes.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { epochOf, revisionOf, versionOf } from "../build/version.ts";
import { ImageError } from "./commands.ts";
import { gather, type Image, pack, treeOf } from "./image.ts";
import { OF_DISTROLESS } from "./packages.ts";
import { ARCHITECTURES, type Architecture, PLATFORMS } from "./platforms.ts";
import { IMAGE } from "./reference.ts";
import { sizes } from "./report.ts";
import { writeTree } from "./write-tree.ts";

const HELP = `usage: bun build.ts image [--arch amd64|arm64]… [--refresh] [--tree FOLDER] [--quiet]

Makes ${IMAGE} as dist/tartan-image-ARCH.tar, which 'ctr -n k8s.io images import' and
'docker load' take, with its bill of materials beside it (.spdx.json). Without --arch, for all machines.
The same commit, packages of Debian and Bun give the same digest; times in it are SOURCE_DATE_EPOCH or the commit's.

  --arch ARCH    only for this machine (repeatable)
  --refresh      ask Debian for newer packages; else those that an earlier build brought are taken
  --tree FOLDER  write the files into this new folder instead, without what
                 gcr.io/distroless/base-debian12 has (manifests/Dockerfile); with one --arch
  --quiet        print nothing
  --help         print this text and exit
`;

interface Usage {
  readonly architectures: readonly Architecture[];
  readonly refresh: boolean;
  readonly quiet: boolean;
  readonly help: boolean;
  readonly tree: string | undefined;
}

/** @returns what is asked for, or what is wrong with it */
function parse(args: readonly string[]): Usage | string {
  const flag = { type: "boolean", default: false } as const;
  const options = {
    arch: { type: "string", multiple: true },
    tree: { type: "string" },
    refresh: flag,
    quiet: flag,
    help: flag,
  } as const;
  try {
    const { arch = [], tree, ...flags } = parseArgs({ args: [...args], options }).values;
    const unknown = arch.find((name) => !ARCHITECTURES.some((known) => known === name));
    if (unknown !== undefined) return `--arch is one of ${ARCHITECTURES.join(", ")}, not ${unknown}`;
    const architectures = ARCHITECTURES.filter((name) => arch.length === 0 || arch.includes(name));
    if (tree !== undefined && architectures.length > 1) return "--tree needs one --arch";
    if (tree !== undefined && existsSync(tree)) return `--tree makes a new folder, and ${tree} is there`;
    return { architectures, tree: tree && resolve(tree), ...flags };
  } catch (error) {
    // What follows the first sentence is advice for arguments that begin with a dash.
    return (error instanceof Error ? error.message : String(error)).replace(/\. .*/s, "");
  }
}

/** @param root the checkout @returns the exit code: 0, 1 if something failed, 2 at wrong usage */
export async function runImageCommand(root: string, args: readonly string[]): Promise<number> {
  const usage = parse(args);
  if (typeof usage === "string") {
    process.stderr.write(`image: ${usage}\n${HELP.split("\n")[0]}\n`);
    return 2;
  }
  if (usage.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const say = (text: string) => {
    if (!usage.quiet) process.stderr.write(`image: ${text}\n`);
  };
  const origin = { version: await versionOf(root), revision: await revisionOf(root), epoch: await epochOf(root) };
  try {
    for (const architecture of usage.architectures) {
      const platform = PLATFORMS[architecture];
      const image = await gather({ root, platform, origin, refresh: usage.refresh, say });
      const written = usage.tree === undefined ? writeArchive(root, image) : writeFiles(usage.tree, image);
      if (!usage.quiet) console.log(written);
    }
    return 0;
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    process.stderr.write(`image: ${error.message}\n`);
    return 1;
  }
}

/** @returns what it wrote, with sizes */
function writeArchive(root: string, image: Image): string {
  const packed = pack(image);
  const name = `tartan-image-${image.platform.architecture}`;
  mkdirSync(join(root, "dist"), { recursive: true });
  replace(join(root, "dist", `${name}.spdx.json`), image.sbom);
  replace(join(root, "dist", `${name}.tar`), packed.content);
  return `dist/${name}.tar: ${IMAGE} ${image.origin.version}\n${sizes(image, packed)}\n`;
}

function writeFiles(folder: string, { system, tartan }: Image): string {
  const lacking = system.filter(({ debian }) => debian !== undefined && !OF_DISTROLESS.some((name) => name === debian));
  writeTree(treeOf([...lacking, ...tartan]), folder);
  return `${folder}: the files of ${lacking.length} packages of Debian and of tartan`;
}

/** Whole or not at all. */
function replace(path: string, content: Uint8Array | string): void {
  const temporary = `${path}.${process.pid}`;
  try {
    writeFileSync(temporary, content);
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}
