// Debian's source package `kubernetes`: fetched and verified by apt, unpacked and patched as dpkg-source does.
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { deriveSourceArchives } from "./apt-sources.ts";
import { BuildError, type Commands, reasonOf } from "./commands.ts";
import { patchesOf, upstreamVersion } from "./source-package.ts";

const PACKAGE = "kubernetes/bookworm";
const EXAMPLE = "deb http://deb.debian.org/debian bookworm main";

/**
 * Downloads the source package with settings of its own: what apt has under /etc and /var stays as it is.
 * @param scratch folder for apt's settings and lists
 * @param folder where the package's files go
 * @throws BuildError, InterruptedError
 */
export async function fetchSource(commands: Commands, scratch: string, folder: string): Promise<void> {
  const { list, sources } = deriveSourceArchives(await aptSources(commands));
  if (list === "" && sources === "") {
    throw new BuildError("apt's sources name no archive of Debian 12 (bookworm) with the component main", {
      next: `add one to /etc/apt/sources.list, for example '${EXAMPLE}', then run this again`,
    });
  }
  for (const part of ["parts", "lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(scratch, part), { recursive: true });
  }
  await Bun.write(join(scratch, "debian.list"), list);
  await Bun.write(join(scratch, "parts", "debian.sources"), sources);
  mkdirSync(folder);
  const settings = {
    "Dir::Etc::SourceList": join(scratch, "debian.list"),
    "Dir::Etc::SourceParts": join(scratch, "parts"),
    "Dir::State::Lists": join(scratch, "lists"),
    "Dir::Cache": join(scratch, "cache"),
    // Its own user for downloads may not get into the checkout. What is downloaded is verified all the same.
    "APT::Sandbox::User": "root",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  const env = { ...process.env, LC_ALL: "C" };
  // It ends well even if it reached nothing.
  const update = await commands.attempt(["apt-get", "update", "-q", ...options], { env });
  const download = ["apt-get", "source", "-q", "--download-only", ...options, PACKAGE] as const;
  const { code, output } = await commands.attempt(download, { env, cwd: folder });
  if (code === 0) return;
  throw new BuildError(`apt-get says: ${reasonOf(update.output + output) ?? `exit code ${code}`}`, {
    next: "check the network and apt's sources, then run this again",
  });
}

/** The files that name apt's archives, with their texts. */
async function aptSources(commands: Commands): Promise<Record<string, string>> {
  const output = await commands.run(
    ["apt-config", "shell", "list", "Dir::Etc::sourcelist/f", "parts", "Dir::Etc::sourceparts/d"],
    { env: { ...process.env, LC_ALL: "C" } },
  );
  const [list, parts] = ["list", "parts"].map((name) => new RegExp(`^${name}='(.*)'$`, "m").exec(output)?.[1]);
  const paths = [...(list ? [list] : []), ...(parts ? namesIn(parts).map((name) => join(parts, name)) : [])];
  return Object.fromEntries(paths.map((path) => [path, textOf(path)]));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** The text of a file; nothing if it can't be read, which apt leaves out as well. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** @returns Kubernetes' version, as in `1.20.2` @throws BuildError if the folder holds no such source package */
export function versionIn(folder: string): string {
  const version = upstreamVersion(nameIn(folder, /\.dsc$/));
  if (version === undefined) throw new BuildError(`${readdirSync(folder).join(", ")} tell no version of Kubernetes`);
  return version;
}

/**
 * Unpacks a source package that apt has verified.
 * @param folder the package's files
 * @param tree where the sources go
 * @throws BuildError, InterruptedError
 */
export async function unpackSource(
  commands: Commands,
  folder: string,
  tree: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  mkdirSync(tree, { recursive: true });
  const [original, debian] = [/\.orig\.tar\.\w+$/, /\.debian\.tar\.\w+$/].map((end) =>
    join(folder, nameIn(folder, end)),
  );
  await commands.run(["tar", "-x", "--no-same-owner", "--strip-components=1", "-C", tree, "-f", `${original}`], {
    env,
  });
  await commands.run(["tar", "-x", "--no-same-owner", "-C", tree, "-f", `${debian}`], { env });
  const patches = join(tree, "debian", "patches");
  for (const name of patchesOf(textOf(join(patches, "series")))) {
    await commands.run(["patch", "-p1", "-t", "-N", "-F0", "-u", "-E", "-i", join(patches, name)], { cwd: tree, env });
  }
}

function nameIn(folder: string, end: RegExp): string {
  const name = readdirSync(folder).find((file) => end.test(file));
  if (name === undefined) throw new BuildError(`the source package lacks a file that matches ${end}`);
  return name;
}
