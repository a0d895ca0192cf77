import type { Origin } from "../../scripts/image/config.ts";
import type { DebianPackage } from "../../scripts/image/debian.ts";
import type { NpmPackage } from "../../scripts/image/npm.ts";

export const origin: Origin = { version: "1.2.3+0123456789ab", revision: "0123456789abcdef", epoch: 1_700_000_000 };

export function debianPackage(folder: string, name: string): DebianPackage {
  const control = `Package: ${name}\nVersion: 1:2.0-1+b1\n`;
  return { name, version: "1:2.0-1+b1", architecture: "amd64", sha256: "ab".repeat(32), control, folder };
}

export const npmPackage = (name: string, license: string | undefined, path = `node_modules/${name}`): NpmPackage => ({
  name,
  version: "4.5.6",
  integrity: `sha512-${Buffer.alloc(64, 1).toString("base64")}`,
  license,
  path,
});
