// The machines that there are images for.
import type { ElfMachine } from "./elf.ts";

export type Architecture = "amd64" | "arm64";

export interface Platform {
  /** as Debian and OCI call it */
  readonly architecture: Architecture;
  readonly machine: ElfMachine;
  /** the folder of Debian's libraries */
  readonly triplet: string;
  /** Bun for it: its name for the compiler and the npm package, by the digest that npm's registry has of it */
  readonly runtime: { readonly target: Bun.Build.CompileTarget; readonly package: string; readonly integrity: string };
}

/** Of the npm packages below. It has to be the version that package.json has: one Bun writes what the other reads. */
export const RUNTIME_VERSION = "1.4.5";

export const PLATFORMS: Readonly<Record<Architecture, Platform>> = {
  amd64: {
    architecture: "amd64",
    machine: "x86-64",
    triplet: "x86_64-linux-gnu",
    runtime: {
      // Any x86-64 machine: the ordinary build needs AVX2.
      target: "bun-linux-x64-baseline",
      package: "@oven/bun-linux-x64-baseline",
      integrity: "sha512-s8yMwYcFnnrA178gji0gZbkE2WVDej/Ti1x770oPfihxyRxSMNhGhiAQNXV53aDeraZxksdvKV/RAdQBCd0qPA==",
    },
  },
  arm64: {
    architecture: "arm64",
    machine: "AArch64",
    triplet: "aarch64-linux-gnu",
    runtime: {
      target: "bun-linux-arm64",
      package: "@oven/bun-linux-aarch64",
      integrity: "sha512-4BXmsSKnjOrlGWqZV4x/oWa7AVoR+B6lCXddMzOAXBIm3t50eslg9wb66gmtW1AamEQ1l1CDvmmruysEhqOWMg==",
    },
  },
};

export const ARCHITECTURES = Object.values(PLATFORMS).map(({ architecture }) => architecture);
