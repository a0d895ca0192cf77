import { version } from "../../package.json";

/** The image that the manifests name: that of this version. */
export const IMAGE = `ghcr.io/tartan-net/tartan:v${version}`;
