// Debian's packages for any of the machines, downloaded by apt and unpacked, never installed. apt gets folders of its own,
// so that it neither needs root nor leaves a trace in the system's settings; its sources and keys are the system's.
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { ImageError, run } from "./commands.ts";
import type { Architecture } from "./platforms.ts";

const Package = v.object({
  name: v.string(),
  version: v.string(),
  /** as in `amd64`, or `all` */
  architecture: v.string(),
  /** of the .deb, in hex */
  sha256: v.string(),
  /** the paragraph that dpkg keeps of an installed package */
  control: v.string(),
  /** where its files are */
  folder: v.string(),
});

export type DebianPackage = v.InferOutput<typeof Package>;

const Packages = v.array(Package);

export interface DebianOptions {
  /** where packages are kept between builds */
  readonly cache: string;
  readonly architecture: Architecture;
  readonly names: readonly string[];
  /** ask Debian for newer ones even if all are there */
  readonly refresh: boolean;
  /** told what is downloaded, or how old it is */
  readonly say: (text: string) => void;
}

/** @returns the packages, in the order of their names @throws ImageError if they can't be had */
export async function debianPackages({ cache, architecture, names, refresh, say }: DebianOptions) {
  const folder = join(cache, `debian-${architecture}`);
  const list = join(folder, "packages.json");
  const sorted = [...names].sort();
  const present = v.safeParse(Packages, await readJson(list));
  const complete = present.success && present.output.map(({ name }) => name).join() === sorted.join();
  if (complete && !refresh) {
    say(
      `Debian's packages are those of ${statSync(list).mtime.toISOString().slice(0, 10)}; --refresh asks for newer ones`,
    );
    return inFolder(present.output, folder);
  }
  say(`downloading ${names.length} packages of Debian for ${architecture}`);
  const temporary = `${folder}.${process.pid}`;
  try {
    const packages = await download(temporary, architecture, sorted);
    writeFileSync(join(temporary, "packages.json"), JSON.stringify(packages));
    rmSync(folder, { recursive: true, force: true });
    renameSync(temporary, folder);
    return inFolder(packages, folder);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

function inFolder(packages: readonly DebianPackage[], folder: string): DebianPackage[] {
  return packages.map((one) => ({ ...one, folder: join(folder, one.folder) }));
}

async function readJson(path: string): Promise<unknown> {
  return await Bun.file(path)
    .json()
    .catch(() => undefined);
}

/** @returns what it unpacked, each into `folder`/NAME */
async function download(folder: string, architecture: Architecture, names: readonly string[]) {
  const apt = join(folder, "apt");
  const debs = join(folder, "debs");
  for (const name of ["state/lists/partial", "cache/archives/partial"]) mkdirSync(join(apt, name), { recursive: true });
  mkdirSync(debs);
  // As of a system on which nothing is installed.
  writeFileSync(join(apt, "status"), "");
  const settings = {
    "APT::Architecture": architecture,
    "APT::Architectures::": architecture,
    "APT::Sandbox::User": "",
    "Acquire::Languages": "none",
    "Dir::State": join(apt, "state"),
    "Dir::State::status": join(apt, "status"),
    "Dir::Cache": join(apt, "cache"),
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  await run(["apt-get", "update", "-q", ...options]);
  await run(["apt-get", "download", "-q", ...options, ...names], debs);
  rmSync(apt, { recursive: true });
  const packages = await Promise.all(readdirSync(debs).map((deb) => unpack(join(debs, deb), folder)));
  rmSync(debs, { recursive: true });
  const missing = names.filter((name) => !packages.some((one) => one.name === name));
  if (missing.length > 0) throw new ImageError(`apt-get downloaded no ${missing.join(", ")}`);
  return packages.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function unpack(deb: string, folder: string): Promise<DebianPackage> {
  const control = await run(["dpkg-deb", "--field", deb]);
  const field = (key: string) => new RegExp(`^${key}: (.*)$`, "m").exec(control)?.[1] ?? "";
  const name = field("Package");
  await run(["dpkg-deb", "--extract", deb, join(folder, name)]);
  const sha256 = new Bun.CryptoHasher("sha256").update(await Bun.file(deb).bytes()).digest("hex");
  return { name, version: field("Version"), architecture: field("Architecture"), sha256, control, folder: name };
}
