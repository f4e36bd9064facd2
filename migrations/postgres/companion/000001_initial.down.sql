DROP TABLE articles;
DROP TABLE tickets;
DROP TABLE customers;
