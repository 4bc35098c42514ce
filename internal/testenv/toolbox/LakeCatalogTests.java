package org.apache.iceberg.rest;

import org.apache.iceberg.catalog.TableIdentifier;

/**
 * The kit's catalog tests with tables inside the lake that is tested: where they ask for a location, theirs is in /tmp,
 * whatever the catalog's warehouse is.
 */
public class LakeCatalogTests extends RESTCompatibilityKitCatalogTests {
    @Override
    protected String baseTableLocation(TableIdentifier table) {
        return System.getProperty("lake") + "/" + table.namespace() + "/" + table.name();
    }

    /** The kit says no because its own server cannot. */
    @Override
    protected boolean supportsNamesWithSlashes() {
        return true;
    }
}
