// Other programs that the build of an image runs.

/** What stops the build, as one line for the user. */
export class ImageError extends Error {
  override name = "ImageError";
}

/**
 * Runs a program without input.
 * @returns what it wrote to stdout
 * @throws ImageError with its last words
 */
export async function run(command: readonly string[], cwd?: string): Promise<string> {
  const [program = ""] = command;
  if (Bun.which(program) === null) throw new ImageError(`the command ${program} is missing: it is part of Debian`);
  const child = Bun.spawn([...command], {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, LC_ALL: "C" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code === 0) return stdout;
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  const why = lines.find((line) => /^(E: |dpkg-deb: error|npm error (?!code ))/.test(line)) ?? lines.at(-1);
  throw new ImageError(`${command.slice(0, 2).join(" ")} failed: ${why ?? `exit code ${code}`}`);
}
