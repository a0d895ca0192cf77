/**
 * Compiles a program into one executable, with the settings of the release.
 * @param define constants of the source text, as JSON
 */
export async function compile(
  entrypoint: string,
  outfile: string,
  define: Readonly<Record<string, string>>,
): Promise<void> {
  await Bun.build({
    entrypoints: [entrypoint],
    target: "bun",
    format: "esm",
    minify: true,
    bytecode: true,
    // What a command does not import is not loaded: the CNI plugin starts in half the time.
    splitting: true,
    // In Bun 1.4 source maps leak native memory with every error thrown.
    sourcemap: "none",
    define,
    compile: {
      // The runtime that runs this build: nothing is downloaded.
      executablePath: process.execPath,
      outfile,
      // Files in whatever folder the agent is started from are not ours to obey.
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadPackageJson: false,
      autoloadTsconfig: false,
    },
  });
}
