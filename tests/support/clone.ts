import { chmodSync, cpSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { TemporaryFolder } from "./temp.ts";

const ROOT = join(import.meta.dir, "..", "..");

/** A checkout with the scripts alone, without node_modules, where commands can be replaced. */
export class Clone extends TemporaryFolder {
  constructor() {
    super();
    cpSync(join(ROOT, "scripts"), this.at("scripts"), { recursive: true });
    cpSync(join(ROOT, "package-lock.json"), this.at("package-lock.json"));
    mkdirSync(this.at("bin"));
  }

  /** Puts a shell script in a command's place. */
  async replace(command: string, script: string): Promise<void> {
    await this.command(join("bin", command), script);
  }

  /** Makes a shell script. */
  async command(path: string, script: string): Promise<void> {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    await Bun.write(this.at(path), `#!/bin/sh\n${script}\n`);
    chmodSync(this.at(path), 0o755);
  }

  /** Starts a command in the checkout that finds the replaced ones. */
  start(command: readonly string[]) {
    const env = { ...process.env, PATH: `${this.at("bin")}:${process.env["PATH"]}` };
    return Bun.spawn([...command], { cwd: this.path, env, stdout: "pipe", stderr: "pipe" });
  }
}

/** How a command ended, and what it printed. */
export async function outcome(child: Bun.Subprocess<"ignore", "pipe", "pipe">) {
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}
