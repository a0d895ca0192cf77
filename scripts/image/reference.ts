import { version } from "../../package.json";

/** Without registry and tag. */
export const REPOSITORY = "tartan-net/tartan";

/** The image that the archives carry and the manifests name: that of this version. */
export const IMAGE = `ghcr.io/${REPOSITORY}:v${version}`;
