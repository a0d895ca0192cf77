// Which npm packages went into the executable.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { type Entry, file, type Tree } from "./tree.ts";

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** as in `sha512-…` with base64, of its archive in the registry */
  readonly integrity: string;
  /** as its author states it, mostly an SPDX expression */
  readonly license: string | undefined;
  /** its path in the checkout, as in `node_modules/hono` */
  readonly path: string;
}

const Lock = v.object({
  packages: v.record(v.string(), v.object({ version: v.optional(v.string()), integrity: v.optional(v.string()) })),
});
const Manifest = v.object({ name: v.string(), license: v.optional(v.string()) });
/** The innermost package, as package-lock.json names it. */
const PACKAGE = /\bnode_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+(?=\/)/;
const LICENCE = /^(licen[cs]e|copying|notice)\b/i;

/**
 * @param root the checkout
 * @param sources paths of all files that were compiled
 * @returns the packages that they are of, sorted
 * @throws Error if package-lock.json lacks one of them
 */
export function npmPackages(root: string, sources: readonly string[]): NpmPackage[] {
  const { packages } = v.parse(Lock, JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")));
  const paths = sources.flatMap((source) => PACKAGE.exec(source)?.[0] ?? []);
  return [...new Set(paths)].sort().map((path) => {
    const { version, integrity } = packages[path] ?? {};
    if (version === undefined || integrity === undefined) throw new Error(`package-lock.json lacks ${path}`);
    const { name, license } = v.parse(Manifest, JSON.parse(readFileSync(join(root, path, "package.json"), "utf8")));
    return { name, version, integrity, license, path };
  });
}

/** The project's licence and those of the packages. */
export function licences(root: string, packages: readonly NpmPackage[]): Tree {
  const folder = "usr/share/doc/tartan";
  const texts = packages.flatMap(({ name, path }) =>
    readdirSync(join(root, path))
      .filter((document) => LICENCE.test(document))
      .map((document): [string, Entry] => [
        join(folder, "npm", name, document),
        file(readFileSync(join(root, path, document))),
      ]),
  );
  return new Map([[join(folder, "LICENSE"), file(readFileSync(join(root, "LICENSE")))], ...texts]);
}
