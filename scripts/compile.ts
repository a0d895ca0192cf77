/** Of another machine, or another build, than the Bun that runs this. */
export interface Runtime {
  /** path of its executable: nothing is downloaded */
  readonly executable: string;
  /** as in `bun-linux-arm64` */
  readonly target: Bun.Build.CompileTarget;
}

/**
 * Compiles a program into one executable, with the settings of the release.
 * @param outfile its base name becomes part of the executable, and so is part of the input
 * @param define constants of the source text, as JSON
 * @param runtime the Bun in the executable; else the one that runs this
 * @returns the paths of all source files that went in
 * @throws AggregateError with what is wrong in the source
 */
export async function compile(
  entrypoint: string,
  outfile: string,
  define: Readonly<Record<string, string>>,
  runtime?: Runtime,
): Promise<string[]> {
  const { metafile } = await Bun.build({
    entrypoints: [entrypoint],
    target: "bun",
    format: "esm",
    minify: true,
    bytecode: true,
    // What a command does not import is not loaded: the CNI plugin starts in half the time.
    splitting: true,
    metafile: true,
    // In Bun 1.4 source maps leak native memory with every error thrown.
    sourcemap: "none",
    define,
    compile: {
      executablePath: runtime?.executable ?? process.execPath,
      outfile,
      ...(runtime === undefined ? {} : { target: runtime.target }),
      // Files in whatever folder the agent is started from are not ours to obey.
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadPackageJson: false,
      autoloadTsconfig: false,
    },
  });
  return Object.keys(metafile?.inputs ?? {}).sort();
}
