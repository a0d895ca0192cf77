// Bun for the machines that there are images for, from npm's registry, checked against a digest that we hold.
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ImageError, run } from "./commands.ts";
import { type Platform, RUNTIME_VERSION } from "./platforms.ts";

/**
 * @param cache where it is kept between builds
 * @returns the path of the executable
 * @throws ImageError if it can't be had, or is not the one that we know
 */
export async function runtimeFor({ runtime }: Platform, cache: string, say: (text: string) => void): Promise<string> {
  if (Bun.version !== RUNTIME_VERSION) {
    throw new ImageError(
      `this is Bun ${Bun.version}, and images are made with ${RUNTIME_VERSION}: run node_modules/.bin/bun`,
    );
  }
  const name = `${runtime.package.replace("@oven/", "")}-${RUNTIME_VERSION}`;
  const executable = join(cache, name);
  if (existsSync(executable)) return executable;
  say(`downloading ${runtime.package} ${RUNTIME_VERSION} from npm's registry`);
  const temporary = join(cache, `${name}.${process.pid}`);
  try {
    mkdirSync(temporary, { recursive: true });
    await run(["npm", "pack", "--silent", `${runtime.package}@${RUNTIME_VERSION}`], temporary);
    const archive = readdirSync(temporary).find((file) => file.endsWith(".tgz"));
    if (archive === undefined) throw new ImageError(`npm brought no ${runtime.package}`);
    const bytes = await Bun.file(join(temporary, archive)).bytes();
    const integrity = `sha512-${new Bun.CryptoHasher("sha512").update(bytes).digest("base64")}`;
    if (integrity !== runtime.integrity) {
      throw new ImageError(`${runtime.package} is not what it was: ${integrity} in place of ${runtime.integrity}`);
    }
    await run(["tar", "-xzf", archive, "package/bin/bun"], temporary);
    chmodSync(join(temporary, "package/bin/bun"), 0o755);
    renameSync(join(temporary, "package/bin/bun"), executable);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return executable;
}
