// Go 1.19 as Debian has it, and what it makes of Kubernetes' sources in a GOPATH.
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Commands } from "./commands.ts";
import { linkerFlags, openapiPackages } from "./source-package.ts";

const GO = join("usr", "lib", "go-1.19");
const TREE = join("src", "k8s.io", "kubernetes");
/** Where Kubernetes' sources ask for OpenAPI definitions. */
const ASKING = ["cmd", "pkg", "plugin", "staging/src"];
const LICENCE = join("vendor", "k8s.io", "code-generator", "hack", "boilerplate.go.txt");

/**
 * Go's root: the one that is unpacked in the checkout, or else the system's.
 * @param unpacked folders of Debian's packages; their files find each other only in one folder
 * @param joined that folder, which is made
 * @throws BuildError, InterruptedError
 */
export async function findGo(commands: Commands, unpacked: readonly string[], joined: string): Promise<string> {
  if (!unpacked.every((folder) => existsSync(folder))) return join("/", GO);
  mkdirSync(joined, { recursive: true });
  await commands.run(["cp", "-a", "--link", ...unpacked.map((folder) => join(folder, "usr")), joined]);
  return join(joined, GO);
}

export interface GoSettings {
  readonly root: string;
  /** folder that is kept between runs, so that a build that was interrupted goes on where it was */
  readonly cache: string;
  readonly temporary: string;
  /** folder of a command that the system may lack */
  readonly tools: string;
}

/** Of the caller's own settings for Go only GOMAXPROCS counts. */
export function goEnvironment({ root, cache, temporary, tools }: GoSettings): Record<string, string | undefined> {
  const rest = Object.entries(process.env).filter(([name]) => name === "GOMAXPROCS" || !/^C?GO/.test(name));
  return {
    ...Object.fromEntries(rest),
    LC_ALL: "C",
    PATH: [join(root, "bin"), tools, process.env["PATH"]].join(":"),
    GOROOT: root,
    GOCACHE: cache,
    GOTMPDIR: temporary,
    GO111MODULE: "off",
    GOENV: "off",
    // So no C compiler is needed, and what is built needs no library.
    CGO_ENABLED: "0",
  };
}

/** Kubernetes' sources in a GOPATH, and Go beside them. */
export class GoTree {
  readonly #commands: Commands;
  readonly #goPath: string;
  readonly #at: { readonly cwd: string; readonly env: Readonly<Record<string, string | undefined>> };

  constructor(commands: Commands, goPath: string, environment: Readonly<Record<string, string | undefined>>) {
    this.#commands = commands;
    this.#goPath = goPath;
    this.#at = { cwd: join(goPath, TREE), env: { ...environment, GOPATH: goPath } };
  }

  get sources(): string {
    return this.#at.cwd;
  }

  /** Makes the one generated package that the sources lack. @throws BuildError, InterruptedError */
  async generateOpenapi(): Promise<void> {
    const generator = join(this.#goPath, "openapi-gen");
    await this.#build("vendor/k8s.io/kube-openapi/cmd/openapi-gen", generator);
    const search = ["-rlE", "--include=*.go", "^// *\\+k8s:openapi-gen=", ...ASKING];
    const files = (await this.#commands.run(["grep", ...search], this.#at)).split("\n").filter(Boolean);
    const output = ["-p", "k8s.io/kubernetes/pkg/generated/openapi", "-O", "zz_generated.openapi", "-h", LICENCE];
    const report = ["-r", join(this.#goPath, "openapi-gen.report")];
    const packages = openapiPackages(files).join(",");
    await this.#commands.run([generator, "--logtostderr", "-i", packages, ...output, ...report], this.#at);
  }

  /** Compiles a command of Kubernetes'. @throws BuildError, InterruptedError */
  async compile(name: string, version: string, target: string): Promise<void> {
    await this.#build(`cmd/${name}`, target, ["-ldflags", linkerFlags(version)]);
  }

  async #build(folder: string, target: string, options: readonly string[] = []): Promise<void> {
    await this.#commands.run(["go", "build", "-trimpath", ...options, "-o", target, `./${folder}`], this.#at);
  }
}
