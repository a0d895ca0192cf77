// Composes an image: what is in it, and in which layer.
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join as joinPath } from "node:path";
import { compileTartan } from "../build/program.ts";
import { type Archive, archive } from "./archive.ts";
import { authorities, debianItself, loader, skeleton } from "./base.ts";
import { config, EXECUTABLE, NAMES, type Origin } from "./config.ts";
import { contentsOf, documentation } from "./contents.ts";
import { type DebianPackage, debianPackages } from "./debian.ts";
import { type Layer, layer } from "./layer.ts";
import { licences, npmPackages } from "./npm.ts";
import { PACKAGES } from "./packages.ts";
import type { Platform } from "./platforms.ts";
import { IMAGE } from "./reference.ts";
import { runtimeFor } from "./runtimes.ts";
import { SBOM, sbom } from "./sbom.ts";
import { file, join, symlink, type Tree } from "./tree.ts";

export interface ImageOptions {
  /** the checkout */
  readonly root: string;
  readonly platform: Platform;
  readonly origin: Origin;
  /** ask Debian for newer packages */
  readonly refresh: boolean;
  readonly say: (text: string) => void;
}

/** A piece of the image by what it is for, as the build reports sizes. */
export interface Part {
  readonly name: string;
  /** the package of Debian that it is of, if it is of one */
  readonly debian?: string;
  readonly tree: Tree;
}

/** Everything in an image before it is packed. */
export interface Image {
  readonly platform: Platform;
  readonly origin: Origin;
  /** what moves with Debian, in a layer of its own: an update of tartan leaves it as it is */
  readonly system: readonly Part[];
  readonly tartan: readonly Part[];
  /** the JSON document, which is in the image as well */
  readonly sbom: string;
}

export interface Packed extends Archive {
  readonly layers: readonly [system: Layer, tartan: Layer];
}

/** @throws ImageError if a part can't be had, AggregateError with what is wrong in the source */
export async function gather({ root, platform, origin, refresh, say }: ImageOptions): Promise<Image> {
  const cache = joinPath(root, ".cache", "image");
  const runtime = await runtimeFor(platform, cache, say);
  const names = Object.keys(PACKAGES);
  const debian = await debianPackages({ cache, architecture: platform.architecture, names, refresh, say });
  const { executable, sources } = await compileFor(platform, root, origin.version, runtime);
  const npm = npmPackages(root, sources);
  const document = sbom({ platform, origin, debian, npm });
  return {
    platform,
    origin,
    sbom: document,
    system: systemParts(debian, platform, executable),
    tartan: [
      {
        name: "the executable",
        tree: new Map([
          [EXECUTABLE, file(executable, 0o755)],
          ...NAMES.map((name) => [name, symlink(`/${EXECUTABLE}`)] as const),
        ]),
      },
      { name: "licences of what is in it", tree: licences(root, npm) },
      { name: "bill of materials", tree: new Map([[SBOM, file(document)]]) },
    ],
  };
}

function systemParts(debian: readonly DebianPackage[], platform: Platform, executable: Uint8Array): Part[] {
  const contents = contentsOf(debian, platform, executable);
  const parts = debian.map((one): Part => {
    const { name } = one;
    const trees = [contents.get(name) ?? new Map(), documentation(one)];
    if (name === "libc6") trees.push(loader(platform));
    if (name === "ca-certificates") trees.push(authorities(one));
    if (name === "base-files") trees.push(debianItself(one));
    return { name, debian: name, tree: join(...trees) };
  });
  return [{ name: "folders and users", tree: skeleton(platform) }, ...parts];
}

async function compileFor({ runtime }: Platform, root: string, version: string, bun: string) {
  const folder = joinPath(root, "dist", `.image-${process.pid}`);
  try {
    mkdirSync(folder, { recursive: true });
    const outfile = joinPath(folder, "tartan");
    const sources = await compileTartan(root, outfile, version, { executable: bun, target: runtime.target });
    return { executable: new Uint8Array(readFileSync(outfile)), sources };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function pack({ platform, origin, system, tartan }: Image): Packed {
  const layers = [
    // Its files have one time for ever, so that it is the same layer for every version of tartan.
    layer("Debian 12: libraries, iptables, certificates", treeOf(system), 0),
    layer(`tartan ${origin.version}`, treeOf(tartan), origin.epoch),
  ] as const;
  return { ...archive(IMAGE, platform, config(platform, layers, origin), layers, origin.epoch), layers };
}

export function treeOf(parts: readonly Part[]): Tree {
  return join(...parts.map(({ tree }) => tree));
}
