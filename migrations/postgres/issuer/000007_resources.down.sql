DROP TABLE resources_revision;
DROP TABLE resources;
