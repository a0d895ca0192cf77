// Compiles tartan itself.
import { join } from "node:path";
import { compile, type Runtime } from "../compile.ts";
import { epochOf } from "./version.ts";

/**
 * The same checkout gives the same bytes, in whatever folder it is.
 * @param root the checkout, which becomes the working directory
 * @param version what `--version` answers
 * @returns the paths of all source files that went in
 * @throws AggregateError with what is wrong in the source
 */
export async function compileTartan(
  root: string,
  outfile: string,
  version: string,
  runtime?: Runtime,
): Promise<string[]> {
  // The compiler names the parts of the executable after the ways to their sources from the working directory.
  process.chdir(root);
  const constants = { TARTAN_VERSION: JSON.stringify(version), TARTAN_BUILT_AT: `${(await epochOf(root)) * 1000}` };
  return compile(join(root, "src", "main.ts"), outfile, constants, runtime);
}
