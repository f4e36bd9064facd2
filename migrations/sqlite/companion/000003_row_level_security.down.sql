-- SQLite knows no row-level security: there the WHERE clause is the one wall. The number is the same in both dialects.
SELECT 1;
