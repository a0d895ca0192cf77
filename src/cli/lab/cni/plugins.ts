import { accessSync, constants, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { quote } from "../command.ts";
import { ownCommand } from "../own-command.ts";
import { type CniPlan, DEBIAN_PLUGINS } from "./plan.ts";

/** Where Debian, or an operator, has the plugins. */
export const PLUGIN_FOLDERS: readonly string[] = ["/usr/lib/cni", "/opt/cni/bin"];

/** @returns the path of a plugin of that type on this machine, if there is one */
export function findPlugin(type: string): string | undefined {
  return PLUGIN_FOLDERS.map((folder) => join(folder, type)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @throws Error naming the plugins that are missing and the package to install */
export function requirePlugins(): void {
  const missing = DEBIAN_PLUGINS.filter((type) => findPlugin(type) === undefined);
  if (missing.length === 0) return;
  const where = PLUGIN_FOLDERS.join(" or ");
  throw new Error(
    `missing CNI plugins: ${missing.join(", ")} (not in ${where}); on Debian: apt install containernetworking-plugins`,
  );
}

/** Gives a node its plugins, tartan being the one called `flannel`, and what its agent makes the conflist of. */
export function provideCni({ pluginDir, source }: CniPlan): void {
  mkdirSync(pluginDir, { recursive: true });
  for (const type of DEBIAN_PLUGINS) {
    const path = findPlugin(type);
    // Gone since requirePlugins: whoever calls it will say so.
    if (path !== undefined) symlinkSync(path, join(pluginDir, type));
  }
  provideOurs(join(pluginDir, "flannel"));
  mkdirSync(dirname(source.path), { recursive: true });
  writeFileSync(source.path, source.content);
}

function provideOurs(path: string): void {
  const [program = "", ...args] = ownCommand();
  // A link, since /run may be mounted with noexec, which counts for a file's own place only.
  if (args.length === 0) symlinkSync(program, path);
  else writeFileSync(path, `#!/bin/sh\nexec ${[program, ...args].map(quote).join(" ")}\n`, { mode: 0o755 });
}
