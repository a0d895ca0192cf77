declare const TARTAN_VERSION: string | undefined;

/** This build's version, put in by build.ts: that of package.json and the commit, as in `0.1.0+1a2b3c4d5e6f`. */
export const VERSION = typeof TARTAN_VERSION === "string" ? TARTAN_VERSION : "0.0.0-dev";

declare const TARTAN_BUILT_AT: number | undefined;

/** The time of this build's commit, milliseconds since 1970; undefined where that is not known. */
export const BUILT_AT = typeof TARTAN_BUILT_AT === "number" && TARTAN_BUILT_AT > 0 ? TARTAN_BUILT_AT : undefined;
