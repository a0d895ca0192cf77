// What the names and texts of Debian's source package `kubernetes` say.

/**
 * @param dsc name of a source package's description, as in `kubernetes_1.20.5+really1.20.2-1.1+deb12u1.dsc`
 * @returns Kubernetes' version, as in `1.20.2`, or undefined
 */
export function upstreamVersion(dsc: string): string | undefined {
  return /^kubernetes_(?:.*\+really)?(\d+\.\d+\.\d+)(?:[+~-].*)?\.dsc$/.exec(dsc)?.[1];
}

/** The patches that `debian/patches/series` names, in their order. */
export function patchesOf(series: string): string[] {
  return series
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim().split(/\s+/)[0] ?? "")
    .filter(Boolean);
}

/**
 * The packages that OpenAPI definitions are made for, as Kubernetes' own Makefile has them.
 * @param files paths from Kubernetes' root of the Go files that ask for it
 */
export function openapiPackages(files: readonly string[]): string[] {
  const folders = files.map((file) => file.replace(/^staging\/src\//, "vendor/").replace(/\/[^/]*$/, ""));
  return [...new Set(folders)]
    .filter((folder) => !/^vendor\/k8s\.io\/(?:code-generator|sample-apiserver)\//.test(folder))
    .sort()
    .map((folder) => `k8s.io/kubernetes/${folder}`);
}

/** Options of the linker: no symbols, and the version that `--version` and the API tell. */
export function linkerFlags(version: string): string {
  const [major, minor] = version.split(".");
  // Outside of modules the linker knows a vendored package by its path in the tree.
  const place = "k8s.io/kubernetes/vendor/k8s.io/component-base/version";
  const values = { gitVersion: `v${version}`, gitMajor: major, gitMinor: minor, gitTreeState: "archive" };
  return ["-s -w", ...Object.entries(values).map(([name, value]) => `-X ${place}.${name}=${value}`)].join(" ");
}
